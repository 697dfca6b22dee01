package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNetworksAsDocker is TestVerbsAsDocker for what needs networks: each program has a network namespace of its own that plays the host.
func TestNetworksAsDocker(t *testing.T) {
	c, p := withPeers(t, "dockerd", "docker", "docker-proxy", "iptables", "nsenter", "unshare", "ip")
	pid := p.StartDockerAlone()
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\nEXPOSE 81 82/udp\nCMD [\"sleep\", \"1000\"]\n")
	c.run("build", "-q", "-t", "img:1", dir)
	c.run("save", "-o", p.Path("img.tar"), "img:1")
	p.Run("docker", "load", "-i", p.Path("img.tar"))
	docker, camada := `exec docker -H unix://`+p.Path("sock")+` "$@"`, "exec "+c.bin+" --root "+c.root+` "$@"`
	theirHost := []string{"nsenter", "--net=/proc/" + pid + "/ns/net", "sh", "-c"}
	for _, v := range networkScripts() {
		t.Run(v.name, func(t *testing.T) {
			theirs := make(chan string)
			go func() { theirs <- script(t, theirHost, docker, "/", v.text) }()
			const ourHost = `mount -t tmpfs run /run && ip link set lo up && exec sh -c "$0"`
			ours := script(t, []string{"unshare", "--net", "--mount", "sh", "-c", ourHost}, camada, "/", v.text)
			// Docker before version 25 writes addresses of IPv6 without brackets.
			if diff := cmp.Diff(strings.ReplaceAll(<-theirs, ":::", "[::]:"), ours); diff != "" {
				t.Errorf("-docker +camada\n%s", diff)
			}
		})
	}
}

// networkScripts are scripts as those of verbScripts.
func networkScripts() []verbScript {
	return []verbScript{
		{"port", `
D run -d --name cc -p 8080:81 -p 127.0.0.1:8081:81/udp -p 7000-7001:7000-7001 img:1 >/dev/null
D port cc | sort; D port cc 81 | sort; D port cc 81/udp; for a in 99 81/x x 82/udp; do echo "$a: $(E port cc $a)"; done
D ps --format '{{.Ports}}'; D ps --filter publish=8080 -q | wc -l; D inspect -f '{{json .NetworkSettings.Ports}}' cc; D inspect -f '{{json .HostConfig.PortBindings}}' cc
echo taken: $(E run -d --name dd -p 8080:82 img:1 | cut -d, -f1); D rm -f dd; D stop -t 0 cc; D ps -a --format '{{.Ports}}'; D inspect -f '{{json .NetworkSettings.Ports}}' cc; E port cc; D start cc; D port cc 81; D rm -f cc
for a in 99999:80 x 1:2:3:4 1-3:1-2 80/foo; do echo "$a: $(E run -p $a img:1)"; done
D run -d --name cc -P img:1 >/dev/null; D port cc | sed 's/:[0-9]*$/:PORT/' | sort; D rm -f cc
D run -d --name cc img:1 >/dev/null; D ps --format '{{.Ports}}'; D port cc; D inspect -f '{{json .NetworkSettings.Ports}}' cc; D rm -f cc`, false},
		{"networks", `
D network ls | sed 's/  */ /g'; D network ls -q | wc -l; D network create --subnet 10.90.0.0/24 --label a=1 one; D network create --internal -o com.docker.network.driver.mtu=1400 two
for a in one '--subnet 10.90.0.0/25 x' '--subnet nosuch x' '--subnet 10.91.0.0/24 --gateway 10.92.0.1 x' '-d nosuch x' host; do echo "$a: $(E network create $a)"; done
f='{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}} {{.Attachable}} {{.Ingress}} {{json .Labels}} {{json .Options}} {{.IPAM.Driver}} {{len .Containers}}'
D network inspect -f "$f" one two; D network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' one; D network inspect nosuch 2>/dev/null; E network inspect nosuch
D network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label "a"}}'; D network ls --format 'table {{.ID}}\t{{.Name}}' | sed 's/  */ /g'
for f in name=one label=a label=a=2 driver=bridge type=custom type=builtin scope=local dangling=true; do echo "== $f"; D network ls --filter $f --format '{{.Name}}'; done; E network ls --filter nosuch=x
D network rm one two; D network rm nosuch 2>/dev/null; echo $?; for n in bridge host none; do echo "$n: $(E network rm $n)"; done`, false},
		{"connect", `
D network create --subnet 10.93.0.0/24 one >/dev/null; D network create --subnet 10.94.0.0/24 two >/dev/null; D run -d --name cc --network one --ip 10.93.0.9 --network-alias al img:1 >/dev/null
f='{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}}/{{$v.IPPrefixLen}} {{$v.Gateway}} {{json $v.IPAMConfig}}{{println}}{{end}}'
D inspect -f "$f" cc; D network connect --ip 10.94.0.7 --alias other two cc; echo $?; D inspect -f "$f" cc; D network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' one two
for a in 'connect two cc' 'connect nosuch cc' 'connect two nosuch' 'rm one' 'disconnect nosuch cc' 'disconnect two nosuch' 'connect host cc'; do echo "$a: $(E network $a)"; done
D network disconnect one cc; echo $?; E network disconnect one cc; D inspect -f "$f" cc; D ps --format '{{.Networks}}'; D ps --filter network=two -q | wc -l; D exec cc ip -o -4 addr | grep -v ' lo ' | sed 's/.*inet \([^ ]*\).*/\1/'
D network rm one; D stop -t 0 cc; D network disconnect two cc; D network connect two cc; D start cc; D inspect -f '{{len .NetworkSettings.Networks}}' cc; D rm -f cc; D network rm two
D network create --label keep=1 p1 >/dev/null; D network create p2 >/dev/null; D network prune -f --filter label!=keep; D network prune -f; D network prune -f
echo $(E run --rm --network nosuch img:1) $(E run --rm --ip 1.2.3.4 img:1 true) $(E run --rm --network host -p 80:80 img:1 true)`, false},
	}
}
