package test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// inventory is what containers could leave behind, a line a thing, sorted. Two of them are alike when nothing was left in between.
type inventory []string

// without gives the lines that an inventory has more than another one.
func (have inventory) without(other inventory) (more []string) {
	count := map[string]int{}
	for _, line := range other {
		count[line]++
	}
	for _, line := range have {
		if count[line]--; count[line] < 0 {
			more = append(more, line)
		}
	}
	return more
}

// takeInventory lists the machine: mounts, processes, interfaces, control groups, rules, the files below /run/camada and of the store, and
// the open files of some processes. What only comes and goes, as the programs of health checks, is not in it.
func (m *machine) takeInventory(pids ...int) inventory {
	m.t.Helper()
	last := m.look(pids)
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		next := m.look(pids)
		if slices.Equal(last, next) {
			return next
		}
		last = next
	}
	m.t.Fatal("the machine does not come to rest")
	return nil
}

// compare waits until there is nothing that was not there before, and nothing less.
func (m *machine) compare(when string, before inventory, pids ...int) {
	m.t.Helper()
	m.none(when, func() []string {
		now := m.look(pids)
		var differ []string
		for _, line := range now.without(before) {
			differ = append(differ, "more: "+line)
		}
		for _, line := range before.without(now) {
			differ = append(differ, "less: "+line)
		}
		return differ
	})
}

func (m *machine) look(pids []int) inventory {
	m.t.Helper()
	var all inventory
	for _, line := range m.mountPoints() {
		all = append(all, "mount: "+line)
	}
	for pid := range m.processes() {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
			all = append(all, fmt.Sprintf("process: %q", b)) // an empty one is a zombie's
		}
	}
	for _, name := range m.interfaces() {
		all = append(all, "interface: "+name)
	}
	for _, g := range m.groups() {
		all = append(all, "control group: "+g)
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		rules, err := exec.Command(nft, "list", "ruleset").Output()
		m.must(err)
		for line := range strings.Lines(string(rules)) {
			all = append(all, "rule: "+strings.TrimSpace(line))
		}
	}
	for _, dir := range []string{"/run", m.temp, m.root} {
		all = append(all, files(dir)...)
	}
	for _, pid := range pids {
		all = append(all, openFiles(pid)...)
	}
	slices.Sort(all)
	return all
}

// files lists all below a directory but what grows by itself: events.
func files(dir string) (list []string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went while it was looked at
		}
		if d.IsDir() && (d.Name() == "events" || d.Name() == "fs" && strings.Contains(name, "/snapshots/")) {
			return fs.SkipDir
		}
		list = append(list, "file: "+name)
		return nil
	})
	return list
}

// openFiles lists what a process holds open. Of sockets, pipes and the like only the kind is told.
func openFiles(pid int) (list []string) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, n := range names {
		target, err := os.Readlink(n)
		if err != nil {
			continue
		}
		kind, _, _ := strings.Cut(target, ":[")
		list = append(list, fmt.Sprintf("descriptor of process %d: %s", pid, kind))
	}
	return list
}
