#!/usr/bin/env bash
# Builds a Kubernetes into a directory: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kubectl. Kubernetes' own
# module has replace lines, which "go install" refuses, so they are built from a module of our own with the same requirements.
#
#   build.sh DIR      some minutes, and 2 GB of module cache
set -euo pipefail
version=${KUBERNETES_VERSION:-1.35.4}
out="$(mkdir -p "$1" && cd "$1" && pwd)"
[ "$(cat "$out/version" 2>/dev/null)" != "$version" ] || exit 0
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS="-mod=mod -buildvcs=false" CGO_ENABLED=0
go mod init throwaway 2>/dev/null
go mod download "k8s.io/kubernetes@v$version"
source="$(go env GOMODCACHE)/k8s.io/kubernetes@v$version"
sed -e 's#^module .*#module throwaway#' -e "s#=> \./staging/src/\(k8s.io/.*\)#=> \1 v0.${version#*.}#" "$source/go.mod" >go.mod
chmod u+w go.mod
cat "$source/go.sum" >go.sum
go mod edit -require "k8s.io/kubernetes@v$version"
mkdir etcd
printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' >etcd/main.go
go build -ldflags '-s -w' -o "$out/" ./etcd
for c in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do
  go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" -o "$out/" "k8s.io/kubernetes/cmd/$c"
done
echo "$version" >"$out/version"
