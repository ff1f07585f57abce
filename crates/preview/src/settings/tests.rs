use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::*;
use crate::policies::Egress;

mod admission;
mod documents;

const FULL: &str = r#"
version: 1
chart: { path: ./deploy//chart/ }
values:
  replicas: 1
  env: [{ name: BUILD, value: "{sha}" }]
valuesFiles: [preview-values.yaml]
image: { repository: "localhost:5000/shop", tag: "pr-{number}-{branch}", wait: 10m }
waitFor: { check: build / image, timeout: 20m }
health: { service: shop, port: 8080, path: /healthz, status: 204, successes: 3, timeout: 90s }
rollout: { timeout: 2m }
filters: { labels: [preview], ignoreLabels: [no-preview], baseBranches: [main], paths: ["src/**", "!**/*.md"], drafts: true, bots: false }
quota: { cpu: 2, memory: 2Gi, pods: 4 }
network: { egress: none, allowNamespaces: [databases] }
podSecurity: baseline
secrets: [{ from: previews/registry-credentials }, { from: databases/shop.readonly }]
ttl: 3d
sleep: { after: 2h }
"#;

fn ok(text: &str) -> Settings {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
}

/// The errors as a reader sees them.
fn errors(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(settings) => panic!("accepted: {text}\n{settings:#?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_least_file_has_the_documented_defaults() {
    assert_json_snapshot!("defaults", ok("version: 1"));
    assert_eq!(ok("version: 1").health.timeout, Duration::from_secs(60));
    assert_eq!(ok("version: 1").rollout.timeout, Duration::from_secs(180));
}

#[test]
fn a_full_file() {
    let settings = ok(FULL);
    assert_json_snapshot!("full", settings);
    assert_eq!(settings.network.egress, Egress::None);
    assert_eq!(settings.health.port, Some(8080));
}

#[test]
fn settings_survive_the_journal() {
    let charts = [
        "version: 1\nchart: {oci: 'oci://ghcr.io/acme/charts/shop', version: 1.2.3}",
        "version: 1\nchart: {repository: 'https://charts.example.com', name: shop, version: 1.2.3}",
    ];
    for text in ["version: 1", FULL].into_iter().chain(charts) {
        let settings = ok(text);
        let journal = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&journal).unwrap(), settings);
    }
}

#[test]
fn every_error_is_reported_with_its_line_and_field() {
    let text = r#"version: 2
chart: { path: ../chart }
vaules: {}
image: shop
health:
  port: "8080"
  path: healthz
  timeout: 60
  Status: 200
quota: { cpu: 0, memory: lots, pods: 0 }
filters:
  labels: preview
  drafts: yes
  paths: ["src/**", "src/"]
network: { egress: all, allowNamespaces: [Data] }
podSecurity: privileged
secrets: [{ from: registry-credentials }, { form: a/b }]
ttl: 7
sleep: { after: 1m }
port: 80
rollout:
"#;
    assert_snapshot!(errors(text).join("\n"));
}

#[test]
fn single_errors() {
    let table = [
        "",
        "# nothing\n",
        "null",
        "- version: 1",
        "version: '1'",
        "version: 1.0",
        "version: 1\nversion: 1",
        "version: 1\nvalues:\n  a: 1\n  b: {c: 1, c: 2}\n  a: 2",
        "version: 1\n---\nversion: 1",
        "version: 1\nvalues: &x {a: 1}",
        "version: 1\nvalues:\n  a: &x [1]\n  b: *x",
        "version: 1\nvalues: {a: *missing}",
        "version: 1\nvalues: {a: !!str 1}",
        "version: 1\nvalues: {? [a] : b}",
        "version: 1\nvalues: {? {a: 1} : b, ? {a: 1} : c}",
        "version: 1\nvalues: [a]",
        "version: 1\nvalues: {seatrial: {}}",
        "version: 1\nvalues: {tag: {sha}}",
        "version: 1\nvalues: {a: 010, b: 0x1f, c: .inf, d: 1e999, e: 99999999999999999999}",
        "version: 1\nimage: {tag: x}",
        "version: 1\nimage: {repository: shop, tag: {sha}}",
        "version: 1\nimage: {repository: shop, tag: 1.10}",
        "version: 1\nimage: {repository: 'shop:latest'}",
        "version: 1\nimage: {repository: 'https://ghcr.io/acme/shop'}",
        "version: 1\nimage: {repository: shop, tag: '{sah}'}",
        "version: 1\nimage: {repository: shop, tag: 'a b'}",
        "version: 1\nimage: {repository: shop, wait: 0s}",
        "version: 1\nchart: {}",
        "version: 1\nchart: {Path: x}",
        "version: 1\nchart: {path: /etc}",
        "version: 1\nchart: {path: 'a\\b'}",
        "version: 1\nchart: {path: \"a\\u0007b\"}",
        "version: 1\nvaluesFiles: [a/../../b, '', ., 1, [x]]",
        "version: 1\nvaluesFiles: a.yaml",
        "version: 1\nhealth: {timeout: 31m}",
        "version: 1\nhealth: {timeout: 0s}",
        "version: 1\nhealth: {path: /../../secrets}",
        "version: 1\nhealth: {path: /a/%2E%2e/b}",
        "version: 1\nhealth: {service: Shop_1}",
        "version: 1\nhealth: {via: proxy}",
        "version: 1\nrollout: {timeout: 18446744073709551615d}",
        "version: 1\nfilters: {labels: ['']}",
        "version: 1\nfilters: {drafts: 'true'}",
        "version: 1\nfilters: {ignore_labels: [x]}",
        "version: 1\nbaseBranches: [main]",
        "version: 1\nfilters: {quota: 1}",
        "version: 1\nfilters: {paths: src/**}",
        "version: 1\nfilters: {paths: ['', '!', src/, '!src/', /src/**, ./src/**, a/../b, 'a\\b', '[a', '{a', '{a}}', 'a\nb[']}",
        "version: 1\nfilters: {paths: ['!docs/**', '!*.md']}",
        "version: 1\nwaitFor: build",
        "version: 1\nwaitFor: {timeout: 1m}",
        "version: 1\nwaitFor: {check: ' '}",
        "version: 1\nwaitFor: {check: \"a\\nb\"}",
        "version: 1\nwaitfor: {check: build}",
        "version: 1\nsecrets: previews/x",
        "version: 1\nsecrets: [previews/x, {}, {from: x}, {from: a/b/c}, {from: A/b}, {from: a/B}, {from: a/.}, {from: a/b}, {from: c/b}, {from: a/c, as: d}]",
        "version: 1\nsecrets: [{from: previews/sh.helm.release.v1.preview.v1}]",
        "version: 1\nttl: forever",
        "version: 1\nttl: 100d",
        "version: 1\nsleep: 2h",
        "version: 1\nsleep: {}",
        "version: 1\nttl: 1h\nsleep: {after: 2h}",
        "version: 1\nafter: 2h",
        "version: 1\n\"a\\nb\\u202e\": 1",
        "version: 1\nvalues: {a: [}",
        "version: 1\n\tvalues: 1",
        "version: 1\nvalues: \"unfinished",
        "%YAML 1.2\n---\nversion: 1",
    ]
    .map(|text| format!("{text:?}\n  {}", errors(text).join("\n  ")));
    assert_snapshot!(table.join("\n"));
}

#[test]
fn charts_are_named_in_one_of_three_ways() {
    let oci = "oci: 'oci://ghcr.io/acme/charts/shop'";
    let repository = "repository: 'https://charts.example.com/stable'";
    let sha = computed("x").sha;
    let source = |chart: &str| ok(&format!("version: 1\nchart: {{{chart}}}")).chart_source(&sha);
    assert_eq!(
        source(&format!("{oci}, version: v1.2.3-rc.1+build.5")),
        ChartSource::Oci {
            reference: "oci://ghcr.io/acme/charts/shop".to_owned(),
            version: "v1.2.3-rc.1+build.5".to_owned(),
            digest: None
        }
    );
    assert_eq!(
        source(&format!("{repository}, name: shop, version: 1.2.3")),
        ChartSource::Repository {
            url: "https://charts.example.com/stable".to_owned(),
            name: "shop".to_owned(),
            version: "1.2.3".to_owned(),
            digest: None
        }
    );
    let wrong: Vec<String> = [
        "path: chart, version: 1.2.3",
        "path: chart, oci: 'oci://ghcr.io/shop', version: 1.2.3",
        "version: 1.2.3",
        oci,
        &format!("{oci}, name: shop, version: 1.2.3"),
        &format!("{oci}, version: 1.2"),
        &format!("{oci}, version: '>=1.2.3'"),
        &format!("{oci}, version: ^1.2.3"),
        &format!("{oci}, version: latest"),
        &format!("{oci}, version: [1]"),
        &format!("{oci}, version: "),
        &format!("{repository}, version: 1.2.3"),
        &format!("{repository}, name: ../shop, version: 1.2.3"),
        &format!("{repository}, name: --help, version: 1.2.3"),
        "oci: ghcr.io/acme/shop, version: 1.2.3",
        "oci: 'oci://ghcr.io', version: 1.2.3",
        "oci: 'oci://ghcr.io/acme/shop:1.2.3', version: 1.2.3",
        "oci: 'oci://user@ghcr.io/acme/shop', version: 1.2.3",
        "oci: 'oci://ghcr.io/../shop', version: 1.2.3",
        "repository: 'oci://ghcr.io/acme', name: shop, version: 1.2.3",
        "repository: 'file:///etc', name: shop, version: 1.2.3",
        "repository: 'https://user:secret@example.com', name: shop, version: 1.2.3",
        "repository: 'https://example.com/?a=b', name: shop, version: 1.2.3",
    ]
    .iter()
    .map(|chart| format!("{chart}\n  {}", errors(&format!("version: 1\nchart: {{{chart}}}")).join("\n  ")))
    .collect();
    assert_snapshot!("chart_errors", wrong.join("\n"));
}

#[test]
fn patterns_fit_as_documented() {
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let fits = |patterns: &[&str], files: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("{pattern:?}")).collect();
        ok(&format!("version: 1\nfilters: {{paths: [{}]}}", patterns.join(", "))).filters.fits(&strings(files))
    };
    for (patterns, files, expected) in [
        (&["src/**"][..], &["src/main.rs"][..], true),
        (&["src/**"], &["src/a/b/c.rs"], true),
        (&["src/**"], &["src2/main.rs", "lib/src/main.rs"], false),
        (&["src/*"], &["src/a/b.rs"], false),
        (&["*.md"], &["README.md"], true),
        (&["*.md"], &["docs/README.md"], false),
        (&["**/*.md"], &["README.md"], true),
        (&["**/*.md"], &["docs/a/README.md"], true),
        (&["**"], &[".github/workflows/ci.yml"], true),
        (&["src/{a,b}.rs"], &["src/b.rs"], true),
        (&["src/[ab].rs"], &["src/c.rs"], false),
        (&["Src/**"], &["src/main.rs"], false),
        (&["src/**", "charts/**"], &["docs/a.md", "charts/x.yaml"], true),
        (&["src/**"], &[], false),
        (&["**", "!docs/**"], &["docs/a.md"], false),
        (&["**", "!docs/**"], &["docs/a.md", "src/main.rs"], true),
        (&["**", "!docs/**", "docs/api/**"], &["docs/api/a.md"], true),
        (&["!docs/**", "**"], &["docs/a.md"], true),
    ] {
        assert_eq!(fits(patterns, files), expected, "{patterns:?} {files:?}");
    }
    let deep = format!("{}a,b{}", "{".repeat(120), "}".repeat(120));
    assert!(fits(&[&deep], &["a"]), "no depth that is read is too deep");
    assert!(Filters::default().fits(&[]), "without patterns every pull request fits");
    let listed = vec!["docs/a.md".to_owned(); 3000];
    let filters = ok("version: 1\nfilters: {paths: ['src/**']}").filters;
    assert!(!filters.fits(&listed[1..]));
    assert!(filters.fits(&listed), "GitHub may have left out the file that fits");
}

#[test]
fn secrets_are_named_by_namespace_and_name() {
    let settings = ok(FULL);
    let named = |namespace: &str, name: &str| SecretRef { namespace: namespace.to_owned(), name: name.to_owned() };
    assert_eq!(
        settings.secret_refs(),
        [named("previews", "registry-credentials"), named("databases", "shop.readonly")]
    );
}

#[test]
fn waits_and_lives_have_bounds() {
    for (text, accepted) in [
        ("image: {repository: x, wait: 1s}", true),
        ("image: {repository: x, wait: 24h}", true),
        ("image: {repository: x, wait: 25h}", false),
        ("waitFor: {check: x, timeout: 1d}", true),
        ("waitFor: {check: x, timeout: 2d}", false),
        ("ttl: 10m", true),
        ("ttl: 9m", false),
        ("ttl: 90d", true),
        ("ttl: 91d", false),
        ("sleep: {after: 5m}", true),
        ("sleep: {after: 299s}", false),
        ("ttl: 90d\nsleep: {after: 30d}", true),
        ("ttl: 90d\nsleep: {after: 31d}", false),
        ("ttl: 2h\nsleep: {after: 119m}", true),
        ("ttl: 2h\nsleep: {after: 2h}", false),
    ] {
        assert_eq!(parse(&format!("version: 1\n{text}")).is_ok(), accepted, "{text}");
    }
    let settings = ok("version: 1\nwaitFor: {check: build}");
    assert_eq!(settings.wait_for.unwrap().timeout, Duration::from_secs(15 * 60));
    assert_eq!((settings.ttl, settings.sleep), (Duration::from_secs(7 * 86_400), None));
}

#[test]
fn values_are_what_yaml_says() {
    let settings = ok(
        "version: 1\nvalues: {a: 1, b: -2, c: 1.5, d: true, e: ~, f: '1', g: yes, h: 1.2.3, i: [], j: {}, k: +3, l: 1e2, m: 0, n: , o: 0.5, 7: seven, p: 18446744073709551615, q: ., r: '', s: '010'}",
    );
    assert_eq!(
        Value::Object(settings.values),
        json!({
            "a": 1, "b": -2, "c": 1.5, "d": true, "e": null, "f": "1", "g": "yes", "h": "1.2.3", "i": [], "j": {},
            "k": 3, "l": 100.0, "m": 0, "n": null, "o": 0.5, "7": "seven", "p": 18446744073709551615u64, "q": ".",
            "r": "", "s": "010",
        })
    );
    let block = ok("version: 1\nvalues:\n  text: |\n    one\n    two\n  # a comment\n  folded: >-\n    a\n    b\n");
    assert_eq!(Value::Object(block.values), json!({ "text": "one\ntwo\n", "folded": "a b" }));
}

#[test]
fn too_large_or_too_deep_is_refused() {
    let large = format!("version: 1\nvalues: {{a: \"{}\"}}", "x".repeat(64 * 1024));
    assert_eq!(errors(&large), [format!("the file has {} bytes; at most 65536 are read", large.len())]);
    let deep = format!("version: 1\nvalues: {}{}", "{a: ".repeat(40), "}".repeat(40));
    assert!(errors(&deep)[0].contains("not valid YAML"), "{:?}", errors(&deep));
    let bomb = "version: 1\nvalues:\n  a: &a [x, x]\n  b: &b [*a, *a]\n  c: [*b, *b]\n";
    assert_eq!(errors(bomb).len(), 6, "two anchors, four aliases: {:?}", errors(bomb));
    let many: String = (0..3000).map(|n| format!("k{n}: 1\n")).collect();
    let listed = errors(&many);
    assert_eq!(listed.len(), 51);
    assert_eq!(listed[50], "2951 more errors are not listed");
}

/// Cuts, doublings, swaps and hostile inserts of real files: a result either way, never a panic,
/// and what is accepted survives the journal.
#[test]
fn no_text_panics() {
    let inserts = [
        "\0", "\u{feff}", "\u{202e}", "{", "}", "[", "]", "\"", "'", "&a ", "*a ", "!!x ", "? ", "- ", ": ", "|\n",
        ">", "%", "---\n", "...\n", "\t", "\r", "é", "<<: ", "#", "`", "@", "\n\n  ", "~", "0x", "1e",
    ];
    let mut texts: Vec<String> = Vec::new();
    for (at, _) in FULL.char_indices() {
        texts.push(FULL[..at].to_owned());
        texts.push(FULL[at..].to_owned());
        for insert in inserts.iter().skip(at % 4).step_by(4) {
            texts.push(format!("{}{insert}{}", &FULL[..at], &FULL[at..]));
        }
    }
    let lines: Vec<&str> = FULL.lines().collect();
    for a in 0..lines.len() {
        for b in 0..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(a, b);
            swapped.push(lines[a]);
            texts.push(swapped.join("\n"));
        }
    }
    texts.extend(inserts.iter().map(|insert| insert.repeat(2000)));
    let mut accepted = 0;
    for text in texts {
        match parse(&text) {
            Ok(settings) => {
                accepted += 1;
                let journal = serde_json::to_string(&settings).unwrap();
                assert_eq!(serde_json::from_str::<Settings>(&journal).unwrap(), settings, "{text}");
            }
            Err(errors) => {
                assert!(!errors.is_empty() && errors.len() <= 51, "{text}");
                let lines = text.lines().count() + 2;
                for error in &errors {
                    assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error} of {text:?}");
                    assert!(error.message.len() < 1000 && !error.message.contains('\n'), "{error:?}");
                }
            }
        }
    }
    assert!(accepted > 20, "the mutations should leave some files whole: {accepted}");
}

fn computed(branch: &str) -> Computed {
    Computed {
        sha: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        number: 12,
        branch: branch.to_owned(),
        host: "pr-12-shop.localhost".to_owned(),
        url: "http://pr-12-shop.localhost:8081".to_owned(),
        namespace: "pr-shop-12".parse().unwrap(),
    }
}

#[test]
fn helm_values() {
    let text = r#"
version: 1
values:
  all: "{sha} {shortSha} {number} {branch} {host} {url} {namespace}"
  nested: [{ deep: "a{number}b" }, 1, true, null]
  "{number}": key
  braces: "{ {x} {{ .Values.sha }} {{sha}} {sha {number"
  image: { pullPolicy: Always, tag: mine }
image: { repository: ghcr.io/acme/shop }
"#;
    assert_json_snapshot!("values", ok(text).helm_values(&computed("fix/login")));
    assert_json_snapshot!("values_of_the_least_file", ok("version: 1").helm_values(&computed("x")));
}

#[test]
fn what_was_put_in_is_not_looked_at_again() {
    let values = ok("version: 1\nvalues: {a: '{branch}{sha}', b: '{{branch}}'}").helm_values(&computed("{sha}{url"));
    let sha = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(values["a"], json!(format!("{{sha}}{{url{sha}")));
    assert_eq!(values["b"], json!("{{sha}{url}"));
}

#[test]
fn a_hostile_branch_is_a_tag_at_worst() {
    let settings = ok("version: 1\nimage: {repository: shop, tag: '{branch}'}");
    let long = "x".repeat(300);
    for (branch, tag) in [
        ("fix/login", "fix-login"),
        ("../../x", "x"),
        ("$(rm -rf)\n", "rm--rf--"),
        ("---", "latest"),
        ("é", "latest"),
        (&long, &long[..128]),
    ] {
        assert_eq!(settings.helm_values(&computed(branch))["image"]["tag"], json!(tag), "{branch:?}");
    }
}

#[test]
fn the_image_that_is_waited_for_is_the_one_that_is_deployed() {
    let settings = ok("version: 1\nimage: {repository: ghcr.io/acme/shop, tag: 'pr-{number}-{branch}', wait: 5m}");
    let name = settings.image_name(&computed("fix/login")).unwrap();
    assert_eq!((name.repository.as_str(), name.tag.as_str()), ("ghcr.io/acme/shop", "pr-12-fix-login"));
    let values = settings.helm_values(&computed("fix/login"));
    assert_eq!(values["image"], serde_json::to_value(&name).unwrap());
    assert_eq!(ok("version: 1").image_name(&computed("x")), None);
}

#[test]
fn an_image_that_is_no_mapping_is_replaced() {
    let values =
        ok("version: 1\nvalues: {image: nginx}\nimage: {repository: shop, tag: v1}").helm_values(&computed("x"));
    assert_eq!(values["image"], json!({ "repository": "shop", "tag": "v1" }));
}

#[test]
fn charts_and_policies() {
    let sha = computed("x").sha;
    assert_eq!(ok("version: 1").chart_source(&sha), ChartSource::Builtin);
    let path = "deploy/chart".to_owned();
    assert_eq!(ok(FULL).chart_source(&sha), ChartSource::Path { path, sha: sha.clone() });
    assert_eq!(ok("version: 1\nchart: {path: ./}").chart_source(&sha), ChartSource::Path { path: ".".to_owned(), sha });
    assert!(!ok("version: 1").needs_source());
    assert!(ok("version: 1\nvaluesFiles: [a.yaml]").needs_source());
    assert!(ok(FULL).needs_source());
    assert!(!ok("version: 1\nchart: {oci: 'oci://ghcr.io/shop', version: 1.2.3}").needs_source());
    assert_eq!(ok(FULL).policies().quota.cpu, "2");
    assert_eq!(ok(FULL).pod_security(), PodSecurity::Baseline);
}

#[test]
fn the_diagnosis_names_line_and_field() {
    let many = parse("version: 1\nhealth: {port: 0}\nttl: 1m").unwrap_err();
    assert_json_snapshot!("diagnosis", diagnosis(&many));
    assert_json_snapshot!("diagnosis_of_one", diagnosis(&parse("").unwrap_err()));
}
