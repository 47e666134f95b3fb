// @kubernetes/client-node: typed clients, patches, informers, exec, logs.
import * as assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough, Writable } from "node:stream";
import * as k8s from "@kubernetes/client-node";

const image = "kaji.local/busybox:1.0";
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).minor, "37");

const namespace = "default";
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "node" }, data: { a: "1" } } });
await core.patchNamespacedConfigMap(
    { name: "node", namespace, body: { data: { b: "2" } } },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
);
assert.deepEqual((await core.readNamespacedConfigMap({ name: "node", namespace })).data, { a: "1", b: "2" });
await assert.rejects(core.readNamespacedConfigMap({ name: "absent", namespace }), (error) => error.code === 404);

const list = () => core.listNamespacedPod({ namespace });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, list);
const running = new Promise((resolve, reject) => {
    informer.on("update", (pod) => pod.metadata.name === "node" && pod.status.phase === "Running" && resolve(pod));
    informer.on("error", reject);
});
await informer.start();
const containers = [{ name: "main", image, command: ["sh", "-c", "echo hello; sleep 1000"] }];
const spec = { terminationGracePeriodSeconds: 0, containers };
await core.createNamespacedPod({ namespace, body: { metadata: { name: "node" }, spec } });
await running;
await informer.stop();

let said = "";
const out = new Writable({ write(chunk, _, done) { said += chunk; done(); } });
const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, "node", "main", ["sh", "-c", "echo inside; exit 3"], out, out, null, false, resolve).catch(reject);
});
assert.equal(said, "inside\n");
assert.equal(status.details.causes.find((cause) => cause.reason === "ExitCode").message, "3");

const log = new PassThrough();
await new k8s.Log(config).log(namespace, "node", "main", log, { follow: true });
const [line] = await once(log, "data");
assert.equal(line.toString(), "hello\n");

const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "node", namespace }, stringData: { key: "value" } };
const applied = await objects.patch(secret, undefined, undefined, "script", true, k8s.PatchStrategy.ServerSideApply);
assert.equal(applied.data.key, "dmFsdWU=");
await objects.delete(secret);
await core.deleteNamespacedPod({ name: "node", namespace, gracePeriodSeconds: 0 });
console.log("done");
process.exit(0);
