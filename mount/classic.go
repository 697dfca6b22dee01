package mount

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Args are the arguments of a mount(2) without its target.
type Args struct {
	Source string
	FSType string
	Flags  uintptr
	Data   string
}

// OneCall returns the arguments of the single mount(2) that makes m, for
// those who mount where no Go code can run. ok is false where it takes more than one
// call: a read-only Bind, or an Overlay whose options do not fit in a page.
func (m Mount) OneCall() (args Args, ok bool) {
	m = m.simple()
	if m.check() != nil {
		return Args{}, false
	}
	if m.Kind == Bind {
		return Args{Source: m.Source, Flags: unix.MS_BIND}, !m.ReadOnly
	}
	if len(m.Lower) > maxStack {
		return Args{}, false
	}
	data, ok := m.data("")
	return Args{Source: "overlay", FSType: "overlay", Data: data}, ok
}

// data is the option string of an Overlay, with directories relative to prefix. It is not
// ok when mount(2) would cut it off.
func (m Mount) data(prefix string) (string, bool) {
	var b strings.Builder
	b.WriteString("lowerdir=")
	for i, dir := range m.Lower {
		if i > 0 {
			b.WriteByte(':')
		}
		escape(&b, strings.TrimPrefix(dir, prefix))
	}
	if m.Upper != "" {
		b.WriteString(",upperdir=")
		escape(&b, strings.TrimPrefix(m.Upper, prefix))
		b.WriteString(",workdir=")
		escape(&b, strings.TrimPrefix(m.Work, prefix))
	}
	pairs, flags := m.options()
	for _, p := range pairs {
		b.WriteString("," + p[0] + "=" + p[1])
	}
	for _, f := range flags {
		b.WriteString("," + f)
	}
	return b.String(), b.Len() < os.Getpagesize()
}

// escape writes a directory as overlayfs' option parser reads it.
func escape(b *strings.Builder, dir string) {
	for i := 0; i < len(dir); i++ {
		if c := dir[i]; c == '\\' || c == ':' || c == ',' {
			b.WriteByte('\\')
		}
		b.WriteByte(dir[i])
	}
}

// prefix is the directory, with a slash at its end, that all of m's are in.
func (m Mount) prefix() string {
	common := m.Lower[0]
	for _, dir := range append([]string{m.Upper, m.Work}, m.Lower...) {
		if dir == "" {
			continue
		}
		n := 0
		for n < len(common) && n < len(dir) && common[n] == dir[n] {
			n++
		}
		common = common[:n]
	}
	return common[:strings.LastIndexByte(common, '/')+1]
}
