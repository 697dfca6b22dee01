// Command sh is the shell of the images under test: static, with a few commands.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	os.Exit(shell(os.Args[1:]))
}

// shell runs "-c COMMANDS", or the file that it is given; commands are separated by ";" or newlines.
func shell(args []string) int {
	text := ""
	switch {
	case len(args) == 2 && args[0] == "-c":
		text = args[1]
	case len(args) == 1:
		data, err := os.ReadFile(args[0])
		if err != nil {
			return 126
		}
		text = string(data)
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(text, ";", "\n"), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if err := command(f); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func command(f []string) error {
	switch f[0] {
	case "write":
		return os.WriteFile(f[1], []byte(strings.Join(f[2:], " ")+"\n"), 0o644)
	case "env":
		return os.WriteFile(f[1], []byte(f[2]+"="+os.Getenv(f[2])+"\n"), 0o644)
	case "rm":
		return os.RemoveAll(f[1])
	case "mkdir":
		return os.MkdirAll(f[1], 0o755)
	case "link":
		return os.Link(f[1], f[2])
	case "symlink":
		return os.Symlink(f[1], f[2])
	case "chmod":
		return os.Chmod(f[1], 0o700)
	case "chown":
		return os.Chown(f[1], 123, 456)
	case "age":
		return os.Chtimes(f[1], time.Unix(1000, 0), time.Unix(1000, 0))
	case "echo":
		fmt.Println(strings.Join(f[1:], " "))
		return nil
	case "fail":
		return errors.New("failed as asked")
	case "sleep":
		time.Sleep(time.Hour)
	}
	if strings.Contains(f[0], "/") {
		cmd := exec.Command(f[0], f[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Run()
	}
	return fmt.Errorf("%s: not found", f[0])
}
