package cli

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// maxEnviron is how much of an environment is looked through, in bytes.
const maxEnviron = 8 << 20

// hideVariable takes the value of a variable out of what /proc/PID/environ shows of this process: the place where the kernel
// put the environment at the start. The process has its own copy, so that nothing changes for it. Where that is not
// possible, nothing happens: the variable is the user's own, and only he can look at it.
func hideVariable(name string) {
	start, end, ok := environPlace()
	if !ok || end <= start || end-start > maxEnviron {
		return
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer mem.Close()
	env := make([]byte, end-start)
	if n, _ := mem.ReadAt(env, start); n < len(env) {
		return
	}
	at := 0
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(name+"=")); ok {
			_, _ = mem.WriteAt(make([]byte, len(value)), start+int64(at+len(name)+1))
		}
		at += len(entry) + 1
	}
}

// environPlace is where the environment lies: the fields 50 and 51 of /proc/self/stat (proc_pid_stat(5)).
func environPlace() (start, end int64, ok bool) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
	if len(fields) < 49 {
		return 0, 0, false
	}
	start, err1 := strconv.ParseInt(fields[47], 10, 64)
	end, err2 := strconv.ParseInt(fields[48], 10, 64)
	return start, end, err1 == nil && err2 == nil
}

// secretsValue is --secret. A variable that a secret comes from is hidden as soon as the flag is read, also in the process that goes on
// in a user namespace.
type secretsValue []string

func (s *secretsValue) String() string { return strings.Join(*s, " ") }

func (s *secretsValue) Set(v string) error {
	if f, err := splitSecret(v); err == nil && f.env != "" { // a mistake is told later, without what was given
		hideVariable(f.env)
	}
	*s = append(*s, v)
	return nil
}

func (s *secretsValue) Type() string { return "secret" }
