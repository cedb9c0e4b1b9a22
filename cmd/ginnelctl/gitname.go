package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// fleetName is what a fleet is called as it is now: by what its files contain,
// behind the commit of the git repository that they lie in. A commit alone would
// name what was changed since by what it was before.
func fleetName(dir, digest string) string {
	files := digest[:min(7, len(digest))]
	if hash := gitHead(dir); hash != "" {
		return "fleet " + hash[:7] + "." + files
	}
	return "fleet " + files
}

// gitHead is the commit of HEAD in the repository that dir lies in, read from its
// files: we start no program. Empty: there is none that we can read.
func gitHead(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for ; ; abs = filepath.Dir(abs) {
		if git := gitFolder(filepath.Join(abs, ".git")); git != "" {
			return headOf(git)
		}
		if abs == filepath.Dir(abs) {
			return ""
		}
	}
}

// gitFolder follows the .git file of a worktree to its folder.
func gitFolder(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if st.IsDir() {
		return path
	}
	to, ok := strings.CutPrefix(firstLineOf(path), "gitdir: ")
	switch {
	case !ok:
		return ""
	case filepath.IsAbs(to):
		return to
	}
	return filepath.Join(filepath.Dir(path), to)
}

func headOf(git string) string {
	head := firstLineOf(filepath.Join(git, "HEAD"))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return commit(head)
	}
	shared := git // of all worktrees
	if to := firstLineOf(filepath.Join(git, "commondir")); to != "" {
		shared = to
		if !filepath.IsAbs(to) {
			shared = filepath.Join(git, to)
		}
	}
	for _, folder := range []string{git, shared} {
		if hash := commit(firstLineOf(filepath.Join(folder, filepath.FromSlash(ref)))); hash != "" {
			return hash
		}
	}
	packed, err := os.ReadFile(filepath.Join(shared, "packed-refs"))
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(packed)); lines.Scan(); {
		if hash, name, _ := strings.Cut(lines.Text(), " "); name == ref {
			return commit(hash)
		}
	}
	return ""
}

// commit is a hash if it is one.
func commit(hash string) string {
	if len(hash) < 40 || strings.Trim(hash, "0123456789abcdef") != "" {
		return ""
	}
	return hash
}

func firstLineOf(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
