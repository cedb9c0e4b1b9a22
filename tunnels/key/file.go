package key

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileError is a key file that we did not use or could not make.
type FileError struct {
	Path string
	Err  error
	hint string
}

func (e *FileError) Error() string { return fmt.Sprintf("key file %s: %v", e.Path, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// Hint says what to do about it; empty if there is nothing to say.
func (e *FileError) Hint() string { return e.hint }

// LoadOrCreate reads the private key in the file at path, or makes one there
// if there is no file; created tells which. The file appears whole, with mode
// 0600 and on the disk, or not at all. A file that is there and holds no key,
// or that others may read, is left as it is and is an error: a gateway that
// changes its key by itself is cut off from every hub.
func LoadOrCreate(path string) (_ Private, created bool, _ error) {
	p, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return p, false, err
	}
	p = NewPrivate()
	err = create(path, p.secret)
	if errors.Is(err, fs.ErrExist) { // somebody was faster: theirs counts
		p, err = Load(path)
		return p, false, err
	}
	if err != nil {
		return Private{}, false, &FileError{Path: path, Err: err}
	}
	return p, true, nil
}

// Load reads the private key in the file at path.
func Load(path string) (Private, error) {
	text, err := read(path)
	if err != nil {
		return Private{}, err
	}
	p, err := ParsePrivate(text)
	if err != nil {
		return Private{}, &FileError{Path: path, Err: err,
			hint: "put back the file from a copy, or move it away to have a new key made (the hubs must then learn the new public key)"}
	}
	return p, nil
}

// LoadPreshared reads the preshared key in the file at path.
func LoadPreshared(path string) (Preshared, error) {
	text, err := read(path)
	if err != nil {
		return Preshared{}, err
	}
	p, err := ParsePreshared(text)
	if err != nil {
		return Preshared{}, &FileError{Path: path, Err: err,
			hint: "one line, as `wg genpsk` writes it, the same at both ends"}
	}
	return p, nil
}

// read returns the trimmed text of a small regular file that nobody but its
// owner may read.
func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &FileError{Path: path, Err: reason(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", &FileError{Path: path, Err: reason(err)}
	case !info.Mode().IsRegular():
		return "", &FileError{Path: path, Err: errors.New("not a regular file")}
	case info.Mode().Perm()&0o077 != 0:
		return "", &FileError{Path: path,
			Err:  fmt.Errorf("mode %04o lets others read the key", info.Mode().Perm()),
			hint: "chmod 600 " + path}
	case info.Size() > 1024:
		return "", &FileError{Path: path, Err: fmt.Errorf("%w: the file has %d bytes", ErrFormat, info.Size())}
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if n < len(b) && err != nil {
		return "", &FileError{Path: path, Err: reason(err)}
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// create writes the key to a temporary file beside path and links it there,
// which fails where a file is already. Directory and file are synced, so that
// a key that a hub has been told is still there after a power cut.
func create(path string, s secret) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-key-*") // O_EXCL, mode 0600
	if err != nil {
		return reason(err)
	}
	defer os.Remove(f.Name())
	k := s.Bytes()
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(k[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the new key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return reason(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return reason(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// reason strips path and call from an error of the os package; FileError has
// the path.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
