package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/fetch"
)

// gitDir makes the .git directory of a checkout: one commit without its history, HEAD at it, and the branch or tag
// that it was asked for by. What is in it depends on these alone, and on how this version of git packs.
func (r *repository) gitDir(ctx context.Context, c fetch.Commit, dir string) error {
	pack := filepath.Join(dir, "objects", "pack")
	for _, d := range []string{pack, filepath.Join(dir, "refs", "heads"), filepath.Join(dir, "refs", "tags")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make .git: %w", err)
		}
	}
	out, err := r.git(ctx, false, nil, nil, "rev-list", "--objects", "--no-object-names", "--no-walk", c.ID)
	if err != nil {
		return err
	}
	ids := strings.Fields(string(out))
	ref := c.ID
	if c.Tag != "" {
		ids, ref = append(ids, c.Tag), c.Tag
	}
	slices.Sort(ids)
	_, err = r.git(ctx, false, nil, []byte(strings.Join(ids, "\n")+"\n"), "pack-objects", "--quiet", "--window=0", "--no-reuse-delta", "--no-reuse-object", filepath.Join(pack, "pack"))
	if err != nil {
		return err
	}
	version, extension := "0", ""
	if len(c.ID) == 64 {
		version, extension = "1", "[extensions]\n\tobjectformat = sha256\n"
	}
	files := map[string]string{
		"HEAD":    c.ID + "\n",
		"shallow": c.ID + "\n",
		"config": "[core]\n\trepositoryformatversion = " + version + "\n\tfilemode = true\n\tbare = false\n" + extension +
			"[remote \"origin\"]\n\turl = " + r.remote.url + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
	}
	if strings.HasPrefix(c.Ref, "refs/heads/") || strings.HasPrefix(c.Ref, "refs/tags/") {
		files["packed-refs"] = "# pack-refs with: sorted \n" + ref + " " + c.Ref + "\n"
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if err != nil {
		return fmt.Errorf("make .git: %w", err)
	}
	// An index that says nothing of times and inodes.
	_, err = r.c.run(ctx, call{dir: dir, lock: r.lock, env: []string{"GIT_DIR=" + dir}, args: []string{"read-tree", c.ID}})
	return err
}
