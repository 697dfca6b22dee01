#!/usr/bin/env bash
# Starts a Kubernetes of one node in namespaces of its own, gives it a RuntimeClass that names camada, and looks at pods of it (checks.sh).
#
#   run.sh KUBERNETES RUNTIME ARCHIVE
#
# KUBERNETES is the directory that build.sh has filled; RUNTIME the path of camada-runtime; ARCHIVE has the images img:1, a busybox, and
# pause:1, which sleeps. containerd, its shim and CNI's bridge and host-local (in $CNI_BIN) are the machine's. Network, mounts, processes and /run
# are those of the namespaces, and end with them; of the host's cgroups it uses one, and removes it.
set -u
here="$(cd "$(dirname "$0")" && pwd)"
if [ "${1:-}" != --inside ]; then
  [ $# = 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
  work="$(mktemp -d)"
  group="camada-kubernetes-$$"
  WORK="$work" GROUP="$group" unshare --mount --net --uts --pid --ipc --fork --kill-child --mount-proc "$0" --inside "$@"
  code=$?
  # The processes are gone with the namespace; their cgroups empty a moment later.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null
    [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$group" 2>/dev/null)" ] && break
    sleep 0.5
  done
  rm -rf "$work" || code=1
  exit $code
fi
K="$2" RUNTIME="$3" ARCHIVE="$4" W="$WORK"
CNI_BIN="${CNI_BIN:-/usr/lib/cni}"
export PATH="$K:$PATH" KUBECONFIG="$W/kubeconfig"
node=camada-node
address=10.83.0.1
die() { echo "SKIP  $*"; tail -n 5 "$W"/*.log 2>/dev/null; exit 0; }
await() { for _ in $(seq "$1"); do "${@:2}" >/dev/null 2>&1 && return 0; sleep 0.2; done; return 1; }
start() { local n=$1; shift; "$@" >"$W/$n.log" 2>&1 & }

# A place of its own.
mount --make-rprivate /
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 log /var/log
hostname "$node"
ip link set lo up
ip link add outside type bridge && ip addr add "$address/24" dev outside && ip link set outside up && ip route add default via 10.83.0.254 dev outside
i=0
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do # the kubelet wants to see these
  echo "${setting#*=}" >"$W/sysctl$i"
  mount --bind "$W/sysctl$i" "/proc/sys/${setting%=*}"
  i=$((i + 1))
done
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir "/sys/fs/cgroup/$GROUP"
  sed 's/\([a-z]*\)/+\1/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
else
  for h in /sys/fs/cgroup/*/; do
    mkdir "$h$GROUP" 2>/dev/null
    for f in cpuset.mems cpuset.cpus; do [ -e "$h$f" ] && cat "$h$f" >"$h$GROUP/$f"; done
  done
fi

# containerd, with camada as a runtime of pods.
mkdir -p "$W/cni" "$W/containerd" /run/containerd
cat >"$W/cni/net.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false,
 "ipam": {"type": "host-local", "dataDir": "$W/ipam", "ranges": [[{"subnet": "10.84.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
cat >"$W/containerd.toml" <<EOF
version = 2
root = "$W/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
    conf_dir = "$W/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "camada"
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.camada]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.camada.options]
      BinaryName = "$RUNTIME"
      Root = "/run/camada-runtime"
EOF
start containerd containerd --config "$W/containerd.toml"
ctr() { command ctr --address /run/containerd/containerd.sock --namespace k8s.io "$@"; }
await 100 ctr version || die "containerd does not answer"
ctr images import "$ARCHIVE" >/dev/null || die "the images cannot be imported"

# The control plane.
start etcd etcd --data-dir "$W/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
echo "secret,admin,admin,system:masters" >"$W/tokens"
openssl genrsa -out "$W/sa.key" 2048 2>/dev/null || die "no openssl"
start apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir "$W/certs" --token-auth-file "$W/tokens" --authorization-mode AlwaysAllow \
  --service-account-issuer https://kubernetes.default --service-account-key-file "$W/sa.key" --service-account-signing-key-file "$W/sa.key" \
  --service-cluster-ip-range 10.85.0.0/24 --endpoint-reconciler-type none --kubelet-preferred-address-types InternalIP \
  --advertise-address "$address" --bind-address 127.0.0.1 --secure-port 6443
cat >"$KUBECONFIG" <<EOF
{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
 "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": true}}], "users": [{"name": "u", "user": {"token": "secret"}}]}
EOF
await 300 kubectl get --raw /readyz || die "the apiserver does not answer"
start controllers kube-controller-manager --kubeconfig "$KUBECONFIG" --service-account-private-key-file "$W/sa.key" --root-ca-file "$W/certs/apiserver.crt" --leader-elect=false
start scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false

# The node.
cat >"$W/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$GROUP
failCgroupV1: false
failSwapOn: false
podLogsDir: $W/pods
volumePluginDir: $W/plugins
evictionHard: {memory.available: "1%", nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
EOF
start kubelet kubelet --config "$W/kubelet.yaml" --kubeconfig "$KUBECONFIG" --root-dir "$W/kubelet" --cert-dir "$W/kubelet/pki" --hostname-override "$node" --node-ip "$address"
await 300 sh -c "kubectl get node $node -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}' | grep -q True" || die "the node does not get ready"
await 100 kubectl get serviceaccount default || die "there is no service account"

STATES=/run/camada-runtime/k8s.io "$here/checks.sh"
code=$?
[ $code = 0 ] || tail -n 20 "$W"/containerd.log "$W"/kubelet.log
exit $code
