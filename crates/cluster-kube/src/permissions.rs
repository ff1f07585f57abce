//! What Seatrial's account lacks, asked of the API server itself.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use seatrial_preview::Result;

use crate::cluster::KubeCluster;
use crate::errors;

/// What charts/seatrial grants in the whole cluster: group, resource, name, verbs.
const NEEDED: [(&str, &str, Option<&str>, &[&str]); 4] = [
    ("", "namespaces", None, &["get", "list", "watch", "create", "patch", "delete"]),
    ("rbac.authorization.k8s.io", "rolebindings", None, &["get", "create"]),
    ("rbac.authorization.k8s.io", "clusterroles", Some("seatrial:preview"), &["bind"]),
    ("rbac.authorization.k8s.io", "clusterroles", Some("seatrial:helm"), &["bind"]),
];

impl KubeCluster {
    /// The rights that charts/seatrial grants and this account does not have: `create namespaces`.
    pub async fn missing_permissions(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for (group, resource, name, verbs) in NEEDED {
            for verb in verbs {
                if !self.may(group, resource, name, verb).await? {
                    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                    missing.push(format!("{verb} {resource}{name}"));
                }
            }
        }
        Ok(missing)
    }

    async fn may(&self, group: &str, resource: &str, name: Option<&str>, verb: &str) -> Result<bool> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    name: name.map(str::to_owned),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| errors::explain("ask what Seatrial's account may do", error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
