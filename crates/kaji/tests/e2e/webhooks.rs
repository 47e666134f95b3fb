//! A webhook behind a Service: the API server finds it as any other client of the Service would.

use crate::clients::{scripts, tool};
use crate::kit;

#[test]
fn a_webhook_is_reached_through_its_service() {
    let cluster = kit::cluster("webhook");
    let made = rcgen::generate_simple_self_signed(vec!["hook.default.svc".to_owned()]).expect("a certificate");
    let certificate = cluster.machine.file("hook.crt", &made.cert.pem());
    let key = cluster.machine.file("hook.key", &made.signing_key.serialize_pem());
    // The machine's end of the nodes' bridge has the first address.
    let node = cluster.node_address();
    let (network, _) = node.rsplit_once('.').expect("an IPv4 address");
    let address = format!("{network}.1");
    let script = scripts().join("webhook.py").display().to_string();
    let python = tool("CLIENTS").join("bin/python");
    let mut server = cluster.machine.spawn(python, &["-B", &script, &certificate, &key, &address]);
    let line = server.line_with("listening on");
    let port = line.rsplit(' ').next().expect("a port").to_owned();

    cluster.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: hook}}\nspec: {{ports: [{{port: 443, targetPort: {port}}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: hook-1, labels: {{kubernetes.io/service-name: hook}}}}\n\
         addressType: IPv4\nendpoints: [{{addresses: [{address}]}}]\nports: [{{name: '', port: {port}}}]\n"
    ));
    let ca = cluster.shell(&format!("base64 -w0 {certificate}")).ok();
    cluster.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: hook}}\n\
         webhooks:\n- name: hook.example.com\n  sideEffects: None\n  admissionReviewVersions: [v1]\n  failurePolicy: Fail\n  \
         clientConfig: {{service: {{namespace: default, name: hook, path: /review}}, caBundle: {ca}}}\n  \
         rules: [{{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [configmaps]}}]\n"
    ));
    let config_map = |name: &str, label: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{bad: '{label}'}}}}}}")
    };
    // The Service's rules are written when the proxy has heard of it: until then there is nobody to ask.
    let good = cluster.machine.file("good.yaml", &config_map("good", "no"));
    let again = format!("for _ in $(seq 300); do kubectl apply -f {good} 2>/dev/null && exit 0; done; exit 1");
    cluster.shell(&again).ok();
    cluster
        .kubectl_with_input(&["create", "-f", "-"], &config_map("bad", "yes"))
        .fails_with("admission webhook \"hook.example.com\" denied the request: bad things are not wanted");
    cluster.kubectl(&["get", "configmap", "good"]).ok();
    cluster.kubectl(&["get", "configmap", "bad"]).fails_with("NotFound");
}
