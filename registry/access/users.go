package access

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxUsers and maxUsersFile bound the file of users.
	maxUsersFile = 16 << 20
	maxUserName  = 255
	// recheck is how often a file is looked at.
	recheck = time.Second
	// maxVerified is how many passwords are remembered, in two halves, and remember for how long.
	maxVerified = 8192
	remember    = 10 * time.Minute
)

// Robot is an account for a machine.
type Robot struct {
	Name string
	// Hash of its secret, as CheckHash has it.
	Hash string
	// Expires is when the account ends; the zero time is never.
	Expires time.Time
}

// Users know the passwords of users. It is safe for use by many goroutines.
type Users struct {
	file   string
	robots map[string]Robot
	now    func() time.Time
	// busy bounds how many passwords are checked at once: each costs a CPU, and argon2 memory.
	busy chan struct{}
	// salt of what is remembered: a dump of the memory gives no passwords away.
	salt [32]byte

	mu      sync.Mutex
	byName  map[string]string // hash by name
	looked  time.Time
	state   fileState
	problem error
	newer   map[[32]byte]time.Time
	older   map[[32]byte]time.Time
}

// fileState tells whether a file changed.
type fileState struct {
	size int64
	time time.Time
	ino  uint64
}

// OpenUsers reads a file as htpasswd makes it, "" for none, and takes robots with it. The file is read again when it
// changed; while it cannot be read, what it had before counts.
func OpenUsers(file string, robots []Robot) (*Users, error) {
	u := &Users{file: file, robots: map[string]Robot{}, now: time.Now, busy: make(chan struct{}, max(runtime.NumCPU()-1, 1)), newer: map[[32]byte]time.Time{}}
	_, _ = rand.Read(u.salt[:]) // it never fails
	for _, r := range robots {
		if err := CheckHash(r.Hash); err != nil {
			return nil, fmt.Errorf("robot %q: %w", r.Name, err)
		}
		if err := checkUserName(r.Name); err != nil {
			return nil, err
		}
		if _, twice := u.robots[r.Name]; twice {
			return nil, errdefs.Invalid("robot %q is there twice", r.Name)
		}
		u.robots[r.Name] = r
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reload()
	return u, u.problem
}

// Problem is why the file could not be read again; nil when it could.
func (u *Users) Problem() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.problem
}

// reload reads the file when it changed. u.mu is held.
func (u *Users) reload() {
	if u.file == "" || u.now().Sub(u.looked) < recheck {
		return
	}
	u.looked = u.now()
	f, err := os.Open(u.file)
	if err != nil {
		u.problem = fmt.Errorf("read the users: %w", err)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		u.problem = fmt.Errorf("read the users: %w", err)
		return
	}
	state := fileState{fi.Size(), fi.ModTime(), inode(fi)}
	if state == u.state {
		return
	}
	data, err := io.ReadAll(io.LimitReader(f, maxUsersFile+1))
	if err == nil {
		var byName map[string]string
		if byName, err = parseUsers(data); err == nil {
			// What is remembered names the hash as well, so a changed password is forgotten by itself.
			u.byName, u.state = byName, state
		}
	}
	if u.problem = nil; err != nil {
		u.problem = fmt.Errorf("read the users %s: %w", u.file, err)
	}
}

// parseUsers reads lines of NAME:HASH. Errors say the line and never show it.
func parseUsers(data []byte) (map[string]string, error) {
	if len(data) > maxUsersFile {
		return nil, errdefs.Limit("more than %d bytes", maxUsersFile)
	}
	byName := map[string]string{}
	scan := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errdefs.Invalid("line %d: want NAME:HASH", n)
		}
		if err := checkUserName(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := CheckHash(hash); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		byName[name] = hash
	}
	if err := scan.Err(); err != nil {
		return nil, errdefs.Invalid("%w", err)
	}
	return byName, nil
}

// checkUserName refuses names that would be something else in a rule, a log or a header.
func checkUserName(name string) error {
	if name == "" || len(name) > maxUserName || name == Everybody {
		return errdefs.Invalid("%q cannot be the name of a user", name)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`*?[]{}:"\`, c) >= 0 {
			return errdefs.Invalid("%q cannot be the name of a user: it has %q in it", name, c)
		}
	}
	return nil
}

// hash returns the hash of a user's password, "" for one who is not known or not any more.
func (u *Users) hash(name string) string {
	if r, ok := u.robots[name]; ok {
		if !r.Expires.IsZero() && !u.now().Before(r.Expires) {
			return ""
		}
		return r.Hash
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reload()
	return u.byName[name]
}

// Has reports whether a user is known.
func (u *Users) Has(name string) bool { return u.hash(name) != "" }

// stamp changes with the password of a user, and gives nothing away of it.
func (u *Users) stamp(name string) string {
	sum := sha256.Sum256([]byte("camada stamp\x00" + u.hash(name)))
	return fmt.Sprintf("%x", sum[:8])
}

// nobody is the hash that the passwords of unknown users are compared with, so that they take as long as others.
const nobody = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// Remembers reports whether Verify said yes to the same within the last minutes.
func (u *Users) Remembers(name, password string) bool {
	hash := u.hash(name)
	return hash != "" && u.remembered(u.memory(name, hash, password))
}

// memory is what is remembered of a password: it gives nothing away, and it is another one when the hash changed.
func (u *Users) memory(name, hash, password string) [32]byte {
	mac := hmac.New(sha256.New, u.salt[:])
	fmt.Fprintf(mac, "%d:%s%d:%s%s", len(name), name, len(hash), hash, password)
	return [32]byte(mac.Sum(nil))
}

// Verify reports whether a password is that of the user. One that was right is remembered for some minutes, since
// bcrypt takes a tenth of a second. Errors are those of ctx.
func (u *Users) Verify(ctx context.Context, name, password string) (bool, error) {
	hash := u.hash(name)
	known := hash != ""
	if !known {
		hash = nobody
	}
	key := u.memory(name, hash, password)
	if known && u.remembered(key) {
		return true, nil
	}
	select {
	case u.busy <- struct{}{}:
		defer func() { <-u.busy }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if !verify(hash, password) || !known {
		return false, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.newer) >= maxVerified/2 {
		u.newer, u.older = map[[32]byte]time.Time{}, u.newer
	}
	u.newer[key] = u.now()
	return true, nil
}

func (u *Users) remembered(key [32]byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	t, ok := u.newer[key]
	if !ok {
		t, ok = u.older[key]
	}
	return ok && u.now().Sub(t) < remember
}

// inode of a file: one that was replaced within a tick of the clock by one of the same size is another one.
func inode(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
