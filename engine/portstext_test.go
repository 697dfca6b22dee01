package engine

import (
	"strings"
	"testing"

	"github.com/camada/camada/network"
)

// The texts are those of docker ps.
func TestPortTexts(t *testing.T) {
	for _, c := range []struct{ ports, want string }{
		{"", ""},
		{"0.0.0.0:80:80 [::]:80:80", "0.0.0.0:80->80/tcp, [::]:80->80/tcp"},
		{"0.0.0.0:8080:80 [::]:8080:80", "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"},
		{"80 81 83 53/udp", "80-81/tcp, 83/tcp, 53/udp"},
		{"0.0.0.0:80:80 0.0.0.0:81:81 0.0.0.0:9000:82", "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:9000->82/tcp"},
		{"70 127.0.0.1:80:80 127.0.0.1:53:53/udp", "70/tcp, 127.0.0.1:80->80/tcp, 127.0.0.1:53->53/udp"},
	} {
		var ports []network.PortMapping
		for _, text := range strings.Fields(c.ports) {
			p, err := network.ParsePort(text)
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, p...)
		}
		if got := strings.Join(portTexts(ports), ", "); got != c.want {
			t.Errorf("%s: %q, want %q", c.ports, got, c.want)
		}
	}
}
