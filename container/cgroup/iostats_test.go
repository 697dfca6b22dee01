package cgroup

import "testing"

func TestParseIO(t *testing.T) {
	for _, c := range []struct {
		name, text string
		parse      func(string) IOStats
		want       IOStats
	}{
		{"v2", "8:0 rbytes=1024 wbytes=7 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n", parseIOStat, IOStats{1025, 9}},
		{"v2 empty", "", parseIOStat, IOStats{}},
		{"v2 garbage", "8:0 rbytes=x wbytes=-1 =5\n", parseIOStat, IOStats{}},
		{"v1", "8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\n8:16 Read 4\nTotal 4612\n", parseServiceBytes, IOStats{4100, 512}},
		{"v1 garbage", "Read\n8:0 Read x\n", parseServiceBytes, IOStats{}},
	} {
		if got := c.parse(c.text); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
