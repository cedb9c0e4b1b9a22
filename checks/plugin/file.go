package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FileError is a file that we did not use.
type FileError struct {
	Path string
	Err  error
	Hint string // what to do about it; may be empty
}

func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// trusted says why a file or folder is not to be trusted: it must belong to
// owner, and nobody else may write to it.
func trusted(info fs.FileInfo, owner uint32) (why error, hint string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be told"), ""
	}
	switch {
	case st.Uid != owner && st.Uid != 0:
		return fmt.Errorf("belongs to uid %d, not to %s", st.Uid, userName(owner)), "chown root:root"
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("mode %04o lets others write to it", info.Mode().Perm()), "chmod go-w"
	}
	return nil, ""
}

func userName(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	return fmt.Sprintf("uid %d", uid)
}

// openTrusted opens a regular file that only owner may write to.
func openTrusted(path string, owner uint32) (*os.File, fs.FileInfo, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // a fifo must not hold us up
	if err != nil {
		return nil, nil, &FileError{Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, &FileError{Path: path, Err: err}
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, &FileError{Path: path, Err: errors.New("is not a regular file")}
	}
	if why, hint := trusted(info, owner); why != nil {
		f.Close()
		return nil, nil, &FileError{Path: path, Err: why, Hint: hint + " " + path}
	}
	return f, info, nil
}

// openProgram opens a program and compares its checksum. The descriptor that it
// returns is what must be executed: what the path leads to may change.
func openProgram(o Offer, owner uint32) (*os.File, error) {
	f, info, err := openTrusted(o.Path, owner)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o111 == 0 {
		f.Close()
		return nil, &FileError{Path: o.Path, Err: fmt.Errorf("mode %04o lets nobody run it", info.Mode().Perm()), Hint: "chmod 755 " + o.Path}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		f.Close()
		return nil, &FileError{Path: o.Path, Err: err}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != o.SHA256 {
		f.Close()
		return nil, &FileError{Path: o.Path, Err: fmt.Errorf("its sha256 is %s, and %s says %s", got, o.File, o.SHA256),
			Hint: "if you changed the program, write the new sum there; if not, find out who did"}
	}
	return f, nil
}
