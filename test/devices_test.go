package test

import (
	"os"
	"strings"
	"testing"
)

// TestDevices builds with RUN --device on a machine that has specifications of devices.
func TestDevices(t *testing.T) {
	const spec = `{"cdiVersion":"0.6.0","kind":"camada.test/zero","devices":[
 {"name":"mine","containerEdits":{"env":["MINE=yes"],"deviceNodes":[{"path":"/dev/mine","hostPath":"/dev/zero"}]}},
 {"name":"free","annotations":{"org.mobyproject.buildkit.device.autoallow":"true"},"containerEdits":{"env":["FREE=yes"]}}]}`
	onMachine(t, func(m *machine) {
		m.must(os.MkdirAll("/run/cdi", 0o755))
		m.must(os.WriteFile("/run/cdi/test.json", []byte(spec), 0o644))
		if _, err := os.Stat("/var/run/cdi/test.json"); err != nil {
			t.Skip("/var/run is not /run here")
		}
		build := func(run string, more ...string) []string {
			m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n"+run+"\n")
			return append(append([]string{"build", "-t", "x", "--network", "none", "--no-cache", "--progress", "plain"}, more...), m.path("ctx"))
		}
		const read = `[ "$MINE" = yes ] && [ "$(head -c 3 /dev/mine | tr '\000' z)" = zzz ]`
		m.camada(build("RUN --device=camada.test/zero=mine "+read, "--allow", "device=camada.test/zero=mine")...)
		m.camada(build("RUN --device=camada.test/zero=mine,required "+read, "--allow", "device")...)
		m.camada(build("RUN --device=short,required "+read, "--allow", "device=camada.test/zero=mine,alias=short")...)
		m.camada(build(`RUN --device=camada.test/zero=free [ "$FREE" = yes ]`)...)
		m.camada(build("RUN --device=camada.test/none true")...)
		for run, want := range map[string]string{
			"RUN --device=camada.test/zero=mine true":     "device camada.test/zero=mine is not allowed; a build may have it with --allow device=camada.test/zero=mine",
			"RUN --device=camada.test/none,required true": `required device "camada.test/none" is not registered`,
		} {
			if r := m.run(build(run)...); r.code != 1 || !strings.Contains(r.out+r.errors, "Dockerfile:3: ") || !strings.Contains(r.out+r.errors, want) {
				t.Errorf("%v, want exit code 1 and %q", r, want)
			}
		}
	})
}
