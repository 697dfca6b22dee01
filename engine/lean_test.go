package engine

import (
	"os"
	"testing"
)

func TestOwnText(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 08:01 7  /usr/bin/camada
Rss:    100 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00500000-00600000 r--p 00100000 08:01 7  /usr/bin/camada
Anonymous:             4 kB
00600000-00700000 rw-p 00200000 08:01 7  /usr/bin/camada
Anonymous:             0 kB
00700000-00800000 r--p 00000000 00:00 0
Anonymous:             0 kB
00800000-00900000 r-xp 00000000 08:01 8  /usr/lib/other
Anonymous:             0 kB
00900000-00a00000 r--p 00300000 08:01 7  /usr/bin/camada
Anonymous:             0 kB
`
	got := ownText(smaps, "/usr/bin/camada")
	if len(got) != 2 || got[0] != [2]uintptr{0x400000, 0x500000} || got[1] != [2]uintptr{0x900000, 0xa00000} {
		t.Errorf("%x", got)
	}
	if got := ownText("x y z\n-\n00-zz r-xp 0 0 0 /usr/bin/camada\nAnonymous: 0 kB\n", "/usr/bin/camada"); got != nil {
		t.Errorf("%x", got)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if len(ownText(string(maps), self)) == 0 {
		t.Error("this program has no text of its own")
	}
	lean() // and this test goes on
}
