package fleet

import (
	"errors"
	"os"
	"path/filepath"
)

// writeFile replaces a file whole or not at all, also in a power cut. The mode
// stays; a new file is readable by all, as git would have it.
func writeFile(path string, text []byte) error {
	mode := os.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the file that is meant, not the link
	}
	if err := replace(path, text, mode); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // it is there; how durably, the system does not let us say
	}
	defer dir.Close()
	return dir.Sync()
}

func replace(path string, text []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
