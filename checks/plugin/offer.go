package plugin

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Offer is a file of checks.d: the gateway's owner lets checks of a kind be
// made by a program. Nothing that comes from the centre can name a program.
type Offer struct {
	File   string   `toml:"-"`
	Kind   string   `toml:"kind"`
	Path   string   `toml:"path"`   // absolute
	SHA256 string   `toml:"sha256"` // of the program, in hex
	Args   []string `toml:"args"`   // the only ones that it gets
	// Agreement says who agreed to the checks, and when, where they touch what
	// somebody else answers for.
	Agreement string `toml:"agreement"`

	seen fs.FileInfo // of File when it was read
}

// untouched reports whether the offer's file is what it was, by its place, time
// and length.
func (o Offer) untouched() bool {
	now, err := os.Stat(o.File)
	return err != nil || o.seen == nil || // what is gone is offered until the agent ends
		os.SameFile(now, o.seen) && now.ModTime().Equal(o.seen.ModTime()) && now.Size() == o.seen.Size()
}

// program names what Offers with the same program share.
func (o Offer) program() string {
	return strings.Join(append([]string{o.Path, o.SHA256}, o.Args...), "\x00")
}

// readOffers reads all offers of a folder. The error joins what is wrong with
// those that are not returned. A folder that is not there has none.
func readOffers(dir string, owner uint32) ([]Offer, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if why, hint := trusted(info, owner); why != nil {
		return nil, &FileError{Path: dir, Err: why, Hint: hint + " " + dir}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return nil, err
	}
	var offers []Offer
	var errs []error
	taken := map[string]string{}
	for _, file := range files {
		o, err := readOffer(file, owner)
		if before := taken[o.Kind]; err == nil && before != "" {
			err = &FileError{Path: file, Err: fmt.Errorf("kind %q is offered by %s already", o.Kind, before)}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		taken[o.Kind] = file
		offers = append(offers, o)
	}
	return offers, errors.Join(errs...)
}

const offerMax = 64 << 10 // bytes

func readOffer(file string, owner uint32) (Offer, error) {
	f, info, err := openTrusted(file, owner)
	if err != nil {
		return Offer{}, err
	}
	defer f.Close()
	if info.Size() > offerMax {
		return Offer{}, &FileError{Path: file, Err: fmt.Errorf("has %d bytes; %d is the most", info.Size(), offerMax)}
	}
	text, err := io.ReadAll(io.LimitReader(f, offerMax))
	if err != nil {
		return Offer{}, &FileError{Path: file, Err: err}
	}
	o, err := parseOffer(file, text)
	if err != nil {
		return Offer{}, err
	}
	o.seen = info
	return o, nil
}

// parseOffer reads an offer strictly; messages have file:line:column.
func parseOffer(file string, text []byte) (Offer, error) {
	o := Offer{File: file}
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := d.Decode(&o)
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var errs []error
		for _, e := range missing.Errors {
			errs = append(errs, placed(file, &e, strings.Join(e.Key(), ".")+": unknown key",
				"kind, path, sha256, args and agreement are all that there is"))
		}
		return o, errors.Join(errs...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		message := strings.TrimPrefix(e.Error(), "toml: ")
		if len(e.Key()) > 0 && strings.HasPrefix(message, "cannot decode") {
			return o, placed(file, e, strings.Join(e.Key(), ".")+": is of the wrong type", "args is a list of strings, the others are strings")
		}
		return o, placed(file, e, message, "")
	}
	if err != nil {
		return o, &FileError{Path: file, Err: err}
	}
	return o, o.valid()
}

func placed(file string, e *toml.DecodeError, message, hint string) error {
	line, column := e.Position()
	return &FileError{Path: fmt.Sprintf("%s:%d:%d", file, line, column), Err: errors.New(message), Hint: hint}
}

func (o *Offer) valid() error {
	bad := func(hint, format string, args ...any) error {
		return &FileError{Path: o.File, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	o.SHA256 = strings.ToLower(o.SHA256)
	sum, err := hex.DecodeString(o.SHA256)
	switch {
	case o.Kind == "":
		return bad("the name that checks use, as in banner", "kind: is missing")
	case o.Path == "":
		return bad("as in /usr/libexec/ginnel/ginnel-check-banner", "path: is missing")
	case !filepath.IsAbs(o.Path) || filepath.Clean(o.Path) != o.Path:
		return bad("as in /usr/libexec/ginnel/ginnel-check-banner", "path: %q is not an absolute path", o.Path)
	case o.SHA256 == "":
		return bad("what `sha256sum "+o.Path+"` prints", "sha256: is missing")
	case err != nil || len(sum) != 32:
		return bad("what `sha256sum "+o.Path+"` prints", "sha256: is not 64 hexadecimal digits")
	}
	return nil
}

// arguments are those that a program gets for an order.
func (o Offer) arguments(order) ([]string, error) { return o.Args, nil }
