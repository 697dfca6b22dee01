package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
)

// describeMounts is one line a mount of the last RUN.
func describeMounts(t *testing.T, g *Graph) string {
	t.Helper()
	v := g.Vertices[len(g.Vertices)-1]
	var b strings.Builder
	for _, m := range v.Op.(*op.Run).Mounts {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		from := fmt.Sprint(m.From)
		if m.From >= 0 {
			from = v.Sources[m.From].Name
		}
		fmt.Fprintf(&b, "%s from %s %q cache %q %s\n", data, from, m.Source, m.CacheID, m.Sharing)
	}
	return b.String()
}

func TestMounts(t *testing.T) {
	s := &shelf{images: map[string]image.Config{"tools": withLayer(nil)}}
	const head = "FROM tools AS other\nFROM scratch AS empty\nFROM tools\nARG v=val\nWORKDIR /w\n"
	for flags, want := range map[string]string{
		"target=/a,source=src/x": `{"type":"bind","target":"/a","readOnly":true} from -1 "/src/x" cache "" ` + "\n",
		"type=bind,dst=a,from=other,src=../$v,rw --mount=type=bind,destination=/b,from=OTHER": `{"type":"bind","target":"/b","readOnly":true} from [other 1/1] FROM full/tools "/" cache "" ` + "\n" +
			`{"type":"bind","target":"/w/a"} from [other 1/1] FROM full/tools "/val" cache "" ` + "\n",
		"target=/a,from=tools":                       `{"type":"bind","target":"/a","readOnly":true} from FROM full/tools "/" cache "" ` + "\n",
		"target=/a,from=scratch":                     `{"type":"bind","target":"/a","readOnly":true} from -2 "/" cache "" ` + "\n",
		"target=/a,from=empty":                       `{"type":"bind","target":"/a","readOnly":true} from -2 "/" cache "" ` + "\n",
		"type=cache,target=$v/../c":                  `{"type":"cache","target":"/w/c"} from -2 "/" cache "c" shared` + "\n",
		"type=cache,id=$v,target=/c,sharing=locked":  `{"type":"cache","target":"/c"} from -2 "/" cache "val" locked` + "\n",
		"type=cache,target=/c,uid=1,gid=2,mode=0700": `{"type":"cache","target":"/c","mode":448,"uid":1,"gid":2} from -2 "/" cache "/c" shared` + "\n",
		"type=cache,target=/c,ro,source=sub,uid=1":   `{"type":"cache","target":"/c","readOnly":true} from -2 "/sub" cache "/c" shared` + "\n",
		"type=tmpfs,target=/t/x --mount=type=tmpfs,target=/t,size=1m": `{"type":"tmpfs","target":"/t","size":1048576} from -2 "" cache "" ` + "\n" +
			`{"type":"tmpfs","target":"/t/x"} from -2 "" cache "" ` + "\n",
		"type=secret,id=a/b":                 `{"type":"secret","target":"/run/secrets/b","readOnly":true,"id":"a/b","mode":256} from -2 "" cache "" ` + "\n",
		"type=secret,target=/etc/x,required": `{"type":"secret","target":"/etc/x","readOnly":true,"id":"x","required":true,"mode":256} from -2 "" cache "" ` + "\n",
		"type=secret,src=s,env=S":            `{"type":"secret","readOnly":true,"id":"s","env":"S","mode":256} from -2 "" cache "" ` + "\n",
		"type=secret,id=s,env=S,target=f":    `{"type":"secret","target":"/w/f","readOnly":true,"id":"s","env":"S","mode":256} from -2 "" cache "" ` + "\n",
		"type=ssh --mount=type=ssh,id=k,mode=0666": `{"type":"ssh","target":"/run/buildkit/ssh_agent.0","readOnly":true,"id":"default","mode":384} from -2 "" cache "" ` + "\n" +
			`{"type":"ssh","target":"/run/buildkit/ssh_agent.1","readOnly":true,"id":"k","mode":438} from -2 "" cache "" ` + "\n",
		// The last one on a target counts, a secret more than others.
		"type=secret,id=s,target=/a --mount=type=tmpfs,target=/a --mount=target=/a": `{"type":"secret","target":"/a","readOnly":true,"id":"s","mode":256} from -2 "" cache "" ` + "\n",
		"type=tmpfs,target=/a --mount=target=/a/":                                   `{"type":"bind","target":"/a","readOnly":true} from -1 "/" cache "" ` + "\n",
	} {
		g, err := buildGraph(t, head+"RUN --mount="+flags+" x\n", s, Options{})
		if err != nil {
			t.Errorf("%s: %v", flags, err)
			continue
		}
		if got := describeMounts(t, g); got != want {
			t.Errorf("%s:\n%swant\n%s", flags, got, want)
		}
	}
}

// TestMountMistakes: each is told with the line of the instruction.
func TestMountMistakes(t *testing.T) {
	const head = "FROM scratch AS first\nFROM scratch AS here\n"
	for flags, want := range map[string]string{
		"--mount=type=foo,target=/x":                  `unsupported mount type "foo"`,
		"--mount=type=bnd,target=/x":                  `unsupported mount type "bnd" (did you mean bind?)`,
		"--mount=target=/x,foo=1":                     `unexpected key 'foo' in 'foo=1'`,
		"--mount=targt=/x":                            `unexpected key 'targt' in 'targt=/x' (did you mean target?)`,
		"--mount=target":                              `invalid field 'target' must be a key=value pair`,
		"--mount=type=bind":                           `RUN --mount=type=bind has no target`,
		"--mount=type=cache":                          `RUN --mount=type=cache has no target`,
		"--mount=type=tmpfs":                          `RUN --mount=type=tmpfs has no target`,
		"--mount=type=tmpfs,target=/a/..":             `the target "/a/.." is the root of the file system`,
		"--mount=type=cache,target=/x,sharing=lockd":  `unsupported sharing value "lockd" (did you mean locked?)`,
		"--mount=type=bind,target=/x,sharing=locked":  `invalid cache sharing set for bind mount`,
		"--mount=type=tmpfs,target=/x,size=abc":       `invalid value for size: abc`,
		"--mount=type=bind,target=/x,size=1":          `unexpected key 'size' for mount type 'bind'`,
		"--mount=type=bind,target=/x,mode=0700":       `mode not allowed for "bind" type mounts`,
		"--mount=type=tmpfs,target=/x,uid=1":          `uid not allowed for "tmpfs" type mounts`,
		"--mount=type=cache,target=/x,mode=999":       `invalid value 999 for mode`,
		"--mount=type=cache,target=/x,uid=ann":        `invalid value ann for uid`,
		"--mount=type=cache,target=/x,uid=4294967295": `uid=4294967295 is too large`,
		"--mount=type=cache,target=/x,required":       `unexpected key 'required' for mount type 'cache'`,
		"--mount=type=bind,target=/x,ro=maybe":        `invalid value for ro: maybe`,
		"--mount=type=secret":                         `invalid secret mount. one of source, target required`,
		"--mount=type=secret,id=a,src=b":              `both source and id can't be set`,
		"--mount=type=secret,id=a,from=first":         `secret mount should not have a from`,
		"--mount=type=secret,id=a,sharing=locked":     `secret mount should not define sharing`,
		"--mount=type=secret,id=a,env=":               `env= is not the name of a variable`,
		"--mount=type=secret,id=a,env=A=B":            `env=A=B is not the name of a variable`,
		"--mount=type=secret,id=a,target=/":           `the target "/" is the root of the file system`,
		"--mount=type=ssh,src=x":                      `RUN --mount=type=ssh has no source`,
		"--mount=target=/x,from=here":                 `stage here mounts from itself`,
		"--mount=target=/x,from=later":                `stage later, which from=later names, comes later, at line 4 (move stage later before it)`,
		"--mount=target=/x,from=0":                    `image 0`,
		"--mount=target=/x,from=nothing":              `image nothing`,
		"--network=host":                              `network.host is not allowed; a build may have it with --allow network.host`,
		"--security=insecure":                         `security.insecure is not allowed; a build may have it with --allow security.insecure`,
	} {
		_, err := buildGraph(t, head+"RUN "+flags+" x\nFROM scratch AS later\n", &shelf{}, Options{Target: "here"})
		var e *dockerfile.Error
		if !errors.As(err, &e) || e.Line != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", flags, err, want)
		}
	}
	_, err := buildGraph(t, "FROM scratch AS a\nRUN --mount=from=b,target=/x x\nFROM scratch AS b\nRUN --mount=from=a,target=/x x\n", &shelf{}, Options{})
	if !errdefs.IsInvalid(err) || !strings.Contains(err.Error(), "cycle of stages: a -> b -> a") {
		t.Errorf("a cycle: %v", err)
	}
}

// TestSecretsAreMasked: the title of a step says that a variable comes from a secret, and the environment knows nothing of it.
func TestSecretsAreMasked(t *testing.T) {
	g, err := buildGraph(t, "FROM scratch\nENV S=old E=e\nRUN --mount=type=secret,id=s,env=S --mount=type=ssh echo $S $E\n", &shelf{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := g.Vertices[0]
	if want := "[1/1] RUN --mount=type=secret,id=s,env=S --mount=type=ssh echo **** e"; v.Name != want {
		t.Errorf("got %q, want %q", v.Name, want)
	}
	if env := strings.Join(v.Op.(*op.Run).Env, " "); !strings.HasSuffix(env, "S=old E=e SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0") {
		t.Errorf("environment %s", env)
	}
}
