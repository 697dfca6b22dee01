#!/usr/bin/env bash
# Looks at pods whose RuntimeClass is camada. run.sh calls it when the node is ready; $STATES is where the runtime keeps its containers.
set -u
failed=0
pass() { echo "PASS  $*"; }
fail() { echo "FAIL  $*"; failed=1; }
# is NAME WANT GOT
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: got '$3', want '$2'"; fi; }
await() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done; return 1; }
field() { kubectl get pod "$1" -o jsonpath="{$2}"; }
has() { [ "$(field "$1" "$2")" = "$3" ]; }

kubectl apply -f - >/dev/null <<'EOF' || fail "the objects are not accepted"
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: camada}
handler: camada
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: life}
spec:
  runtimeClassName: camada
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: img:1
    imagePullPolicy: Never
    command: [sh, -c, 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done']
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    readinessProbe: {exec: {command: [test, -e, /tmp]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [test, '!', -e, /tmp/bad]}, periodSeconds: 1, failureThreshold: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: confined}
spec:
  runtimeClassName: camada
  restartPolicy: Never
  hostname: named
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - {name: first, image: 'img:1', imagePullPolicy: Never, command: [sh, -c, 'echo of-init > /shared/file'], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - name: main
    image: img:1
    imagePullPolicy: Never
    command: [sh, -c, 'id -u; id -g; hostname; cat /shared/file /settings/greeting /one; echo; grep -e CapEff -e NoNewPrivs -e Seccomp: /proc/self/status; touch /x 2>/dev/null || echo refused; exit 4']
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: settings, mountPath: /settings}, {name: settings, mountPath: /one, subPath: greeting}]
  volumes: [{name: shared, emptyDir: {}}, {name: settings, configMap: {name: settings}}]
---
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  runtimeClassName: camada
  restartPolicy: Never
  shareProcessNamespace: true
  securityContext: {runAsNonRoot: true, runAsUser: 1001}
  containers:
  - {name: server, image: 'img:1', imagePullPolicy: Never, command: [sh, -c, 'mkdir -p /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www'], volumeMounts: [{name: tmp, mountPath: /tmp}]}
  - {name: client, image: 'img:1', imagePullPolicy: Never, command: [sh, -c, 'until wget -q -O - http://127.0.0.1:8080/; do sleep 0.1; done; ps | grep -q "[h]ttpd" && echo seen; hostname; sleep 1000'], volumeMounts: [{name: tmp, mountPath: /tmp}]}
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  runtimeClassName: camada
  securityContext: {runAsNonRoot: true}
  containers:
  - {name: main, image: 'img:1', imagePullPolicy: Never, command: [sleep, '1000']}
---
apiVersion: v1
kind: Pod
metadata: {name: hungry}
spec:
  runtimeClassName: camada
  restartPolicy: Never
  containers:
  - {name: main, image: 'img:1', imagePullPolicy: Never, command: [sh, -c, 'a=xxxxxxxx; while :; do a=$a$a; done'], resources: {limits: {memory: 32Mi}}}
EOF

await has life '.status.containerStatuses[0].ready' true && pass "a pod gets ready" || fail "the pod does not get ready: $(kubectl describe pod life | tail -n 8)"
[ "$(find "$STATES" -mindepth 1 -maxdepth 1 | wc -l)" -ge 2 ] && pass "its containers are camada's" || fail "no containers in $STATES"
is "logs" ready "$(kubectl logs life)"
is "exec" "$(printf 'life\n1 out')" "$(kubectl exec life -- sh -c 'hostname; echo $(ls -d /tmp | wc -l) out')"
kubectl exec life -- sh -c 'exit 5' 2>/dev/null
is "exit code of exec" 5 $?
is "standard input of exec" "from outside" "$(echo from outside | kubectl exec -i life -- cat)"
case "$(script -qec 'kubectl exec -it life -- busybox tty' /dev/null </dev/null)" in */dev/pts/*) pass "terminal of exec" ;; *) fail "no terminal of exec" ;; esac
id="$(field life '.status.containerStatuses[0].containerID')"
pid="$(ctr --address /run/containerd/containerd.sock --namespace k8s.io task list | awk -v id="${id#*//}" '$1 == id { print $2 }')"
if [ -d /sys/fs/cgroup/memory ]; then
  is "memory limit" 67108864 "$(cat "/sys/fs/cgroup/memory$(awk -F: '$2 == "memory" { print $3 }' "/proc/$pid/cgroup")/memory.limit_in_bytes")"
  is "processor limit" 50000 "$(cat "/sys/fs/cgroup/cpu$(awk -F: '$2 ~ /(^|,)cpu(,|$)/ { print $3 }' "/proc/$pid/cgroup")/cpu.cfs_quota_us")"
else
  is "memory limit" 67108864 "$(cat "/sys/fs/cgroup$(awk -F: '$1 == 0 { print $3 }' "/proc/$pid/cgroup")/memory.max")"
fi
kubectl exec life -- touch /tmp/bad
await has life '.status.containerStatuses[0].restartCount' 1 && pass "the liveness probe restarts it" || fail "the liveness probe does nothing"
is "it ended by itself" 3 "$(field life '.status.containerStatuses[0].lastState.terminated.exitCode')"

await has confined '.status.phase' Failed || fail "the confined pod does not end"
is "a confined pod" "$(printf '1000\n1000\nnamed\nof-init\nhellohello\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nrefused')" "$(kubectl logs confined)"
is "its exit code" 4 "$(field confined '.status.containerStatuses[0].state.terminated.exitCode')"
await has hungry '.status.phase' Failed || fail "the pod without memory does not end"
is "a pod without memory" "OOMKilled 137" "$(field hungry '.status.containerStatuses[0].state.terminated.reason') $(field hungry '.status.containerStatuses[0].state.terminated.exitCode')"

await sh -c "kubectl logs pair -c client | grep -q '^pair'" || fail "the client of a pair says nothing: $(kubectl describe pod pair | tail -n 8)"
is "two containers share the network and processes" "$(printf 'served\nseen\npair')" "$(kubectl logs pair -c client)"
await has root '.status.containerStatuses[0].state.waiting.reason' CreateContainerConfigError && pass "root is refused where a pod says so" || fail "root is not refused"

kubectl delete pod --all >/dev/null
await sh -c "[ -z \"\$(find $STATES -mindepth 1 -maxdepth 1)\" ]" && pass "nothing is left of deleted pods" || fail "left: $(find "$STATES" -mindepth 1 -maxdepth 1)"
exit $failed
