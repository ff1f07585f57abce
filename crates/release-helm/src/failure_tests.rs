//! What Helm 4.1 really said, Helm 3's wordings beside it, and what is made of them.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use seatrial_preview::ErrorKind;
use secrecy::SecretString;

use super::*;

fn explained(stderr: &str) -> Error {
    let output = Output { status: ExitStatus::from_raw(1 << 8), stdout: String::new(), stderr: format!("{stderr}\n") };
    let attempt = Attempt { verb: "install", release: "shop", namespace: "pr-shop-1", chart: "chart \"deploy\"" };
    explain(&output, &attempt, &Mask::new(&SecretString::from("users: [{user: {token: hushhush}}]")))
}

#[test]
fn the_applications_own_failures_name_their_culprit() {
    use Reason::{ChartInvalid, JobFailed, Quota, ReleaseFailed};
    let cases = [
        (
            "Error: shop/templates/x.yaml:1:13\n  executing \"shop/templates/x.yaml\" at <.Values.foo.bar.baz>:\n    nil pointer evaluating interface {}.bar",
            ChartInvalid,
            "shop/templates/x.yaml line 1",
            "nil pointer evaluating interface {}.bar",
        ),
        (
            "Error: UPGRADE FAILED: template: shop/templates/x.yaml:7:20: executing \"shop/templates/x.yaml\" at <.Values.a.b>: nil pointer evaluating interface {}.b",
            ChartInvalid,
            "shop/templates/x.yaml line 7",
            "nil pointer",
        ),
        (
            "Error: parse error at (shop/templates/x.yaml:2): unclosed action started at shop/templates/x.yaml:1",
            ChartInvalid,
            "shop/templates/x.yaml line 2",
            "unclosed action",
        ),
        (
            "Error: execution error at (shop/templates/x.yaml:1:6): image.tag is required, connection refused",
            ChartInvalid,
            "shop/templates/x.yaml line 1",
            "image.tag is required",
        ),
        (
            "Error: YAML parse error on shop/templates/x.yaml: error converting YAML to JSON: yaml: line 4: did not find expected key",
            ChartInvalid,
            "shop/templates/x.yaml",
            "line 4",
        ),
        (
            "Error: values don't meet the specifications of the schema(s) in the following chart(s):\nshop:\n- at '/replicas': got number, want string\n",
            ChartInvalid,
            "values.schema.json",
            "at '/replicas': got number, want string",
        ),
        (
            "Error: unable to build kubernetes objects from release manifest: resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \"Foo\" in version \"example.com/v1\"\nensure CRDs are installed first",
            ChartInvalid,
            "kind \"Foo\" in version \"example.com/v1\"",
            "does not know the kind",
        ),
        (
            "Error: validation: chart.metadata.version is required",
            ChartInvalid,
            "chart \"deploy\"",
            "version is required",
        ),
        (
            "Error: chart requires kubeVersion: >=1.99 which is incompatible with Kubernetes v1.35.4",
            ChartInvalid,
            "chart \"deploy\"",
            ">=1.99",
        ),
        ("Error: library charts are not installable", ChartInvalid, "chart \"deploy\"", "library charts"),
        (
            "level=WARN msg=\"upgrade failed\" name=ok error=\"…\"\nError: UPGRADE FAILED: failed to create resource: Deployment.apps \"web\" is invalid: spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
            ChartInvalid,
            "Deployment.apps \"web\"",
            "does not match template",
        ),
        (
            "Error: failed to create typed patch object (pr-hx-1/x; /v1, Kind=ConfigMap): .datum: field not declared in schema",
            ChartInvalid,
            "ConfigMap \"x\"",
            ".datum: field not declared",
        ),
        (
            "Error: failed to parse deploy/values.yaml: cannot unmarshal yaml document: error converting YAML to JSON: yaml: did not find expected node content",
            ChartInvalid,
            "values file \"deploy/values.yaml\"",
            "not valid YAML",
        ),
        (
            "Error: unable to continue with install: could not get information about the resource ClusterRole \"evil\" in namespace \"\": clusterroles.rbac.authorization.k8s.io \"evil\" is forbidden: User \"system:serviceaccount:pr-shop-1:helm\" cannot get resource \"clusterroles\" in API group \"rbac.authorization.k8s.io\" at the cluster scope",
            ChartInvalid,
            "clusterroles.rbac.authorization.k8s.io \"evil\"",
            "cluster-wide",
        ),
        (
            "Error: failed to install CRD crds/x.yaml: customresourcedefinitions.apiextensions.k8s.io \"foos.example.com\" is forbidden: User \"system:serviceaccount:pr-shop-1:helm\" cannot patch resource \"customresourcedefinitions\" in API group \"apiextensions.k8s.io\" at the cluster scope",
            ChartInvalid,
            "customresourcedefinitions.apiextensions.k8s.io \"foos.example.com\"",
            "cluster-wide",
        ),
        (
            "Error: unable to continue with install: could not get information about the resource ConfigMap \"x\" in namespace \"kube-system\": configmaps \"x\" is forbidden: User \"system:serviceaccount:pr-shop-1:helm\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"kube-system\"",
            ChartInvalid,
            "configmaps \"x\"",
            "in namespace \"kube-system\"",
        ),
        (
            "Error: services \"web\" is forbidden: exceeded quota: q, requested: services=1, used: services=0, limited: services=0",
            Quota,
            "services \"web\"",
            "limited: services=0",
        ),
        (
            "Error: pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
            ReleaseFailed,
            "pods \"web\"",
            "violates PodSecurity",
        ),
        (
            "Error: unable to continue with install: Deployment \"web\" in namespace \"pr-hx-1\" exists and cannot be imported into the current release: invalid ownership metadata; annotation validation error: key \"meta.helm.sh/release-name\" must equal \"r-dp2\": current value is \"r-dp\"",
            ReleaseFailed,
            "Deployment \"web\"",
            "belongs to another release",
        ),
        (
            "Error: admission webhook \"policy.example.com\" denied the request: no latest tags",
            ReleaseFailed,
            "admission webhook \"policy.example.com\"",
            "no latest tags",
        ),
        (
            "Error: failed pre-install: resource Job/pr-hx-1/migrate not ready. status: Failed, message: Job Failed. failed: 0/1",
            JobFailed,
            "hook Job \"migrate\"",
            "pre-install hook Job \"migrate\" failed",
        ),
        (
            "Error: UPGRADE FAILED: pre-upgrade hooks failed: resource Pod/pr-hx-1/slow not ready. status: InProgress, message: Pod in progress\ncontext deadline exceeded",
            JobFailed,
            "hook Pod \"slow\"",
            "did not end in time",
        ),
        (
            "Error: INSTALLATION FAILED: failed pre-install: 1 error occurred:\n\t* job migrate failed: BackoffLimitExceeded\n\n",
            JobFailed,
            "hook Job \"migrate\"",
            "failed",
        ),
        ("Error: something nobody has seen before", ReleaseFailed, "release \"shop\"", "nobody has seen"),
    ];
    for (stderr, reason, culprit, summary) in cases {
        let error = explained(stderr);
        let diagnosis = error.diagnosis.clone().unwrap_or_else(|| panic!("{stderr}\nis not diagnosed: {error:?}"));
        assert_eq!((diagnosis.reason, diagnosis.culprit.as_str()), (reason, culprit), "{stderr}");
        assert!(diagnosis.summary.contains(summary), "{}", diagnosis.summary);
        assert!(!diagnosis.advice.is_empty() && !diagnosis.evidence[0].text.is_empty());
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

#[test]
fn trouble_on_the_way_is_nobodys_fault() {
    for stderr in [
        "Error: kubernetes cluster unreachable: Get \"https://127.0.0.1:1/version\": dial tcp 127.0.0.1:1: connect: connection refused",
        "Error: INSTALLATION FAILED: Kubernetes cluster unreachable: Get \"https://x/version\": net/http: TLS handshake timeout",
        "Error: kubernetes cluster unreachable: the server has asked for the client to provide credentials",
        "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
        "Error: UPGRADE FAILED: etcdserver: request timed out",
        "Error: create: failed to create: Post \"https://x/api/v1/namespaces/a/secrets\": read tcp 1.2.3.4:5: i/o timeout",
        "Error: Get \"https://x/api\": EOF",
        "Error: Internal error occurred: failed calling webhook \"a.b\": Post \"https://a\": dial tcp: connection refused",
        "Error: context canceled",
        "Error: services \"web\" is forbidden: unable to create new content in namespace pr-shop-1 because it is being terminated",
    ] {
        let error = explained(stderr);
        assert_eq!(error.kind, ErrorKind::Transient, "{stderr}: {error:?}");
    }
    let tls = "Error: kubernetes cluster unreachable: Get \"https://x/version\": tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(explained(tls).kind, ErrorKind::Invalid);
    let role = "Error: query: failed to query with labels: secrets is forbidden: User \"system:serviceaccount:pr-shop-1:helm\" cannot list resource \"secrets\" in API group \"\" in the namespace \"pr-shop-1\"";
    assert_eq!(explained(role).kind, ErrorKind::Forbidden);
    let gone = "Error: create: failed to create: namespaces \"pr-shop-1\" not found";
    assert_eq!(explained(gone).kind, ErrorKind::NotFound);
}

#[test]
fn secrets_and_length_are_kept_out_of_the_evidence() {
    let error = explained(&format!("{}Error: token hushhush is bad", "noise\n".repeat(10_000)));
    let text = format!("{error:?}");
    assert!(!text.contains("hushhush"));
    assert!(text.len() < 20_000);
    for hostile in [
        "",
        "Error: ",
        "Error: failed ",
        " is forbidden: ",
        "Error: resource  not ready failed pre-",
        "é is invalid: ",
        "failed to create typed patch object (",
        "no matches for kind ",
    ] {
        let _ = explained(hostile);
    }
}
