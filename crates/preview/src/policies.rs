//! What a preview's namespace is allowed to do and to use (FR-010, FR-013).

use serde::{Deserialize, Serialize};

/// The policies of one namespace, in the domain's words. The cluster adapter turns them into a
/// ResourceQuota, a LimitRange, NetworkPolicies and the accounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    pub quota: Quota,
    pub network: Network,
}

/// Kubernetes quantities; `pods` is a count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    pub cpu: String,
    pub memory: String,
    pub pods: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { cpu: "2".to_owned(), memory: "2Gi".to_owned(), pods: 10 }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    pub egress: Egress,
    /// Namespaces the preview may talk to, by name.
    pub allow_namespaces: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// The internet, without private, shared and link-local ranges.
    #[default]
    Internet,
    None,
}

/// The Pod Security level the namespace enforces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    #[default]
    Restricted,
    Baseline,
}

impl PodSecurity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
        }
    }
}
