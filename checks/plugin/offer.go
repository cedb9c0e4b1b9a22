package plugin

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
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

	// Type is empty for a plugin, or "exec": then the program is run anew each
	// time, Args may hold {target} and {NAME}, and a config may choose a target
	// of Targets and, for each option NAME of Choices, one of its values.
	Type    string              `toml:"type"`
	Targets []string            `toml:"targets"`
	Choices map[string][]string `toml:"choices"`

	seen fs.FileInfo // of File when it was read
}

// untouched reports whether the offer's file is what it was, by its place, time
// and length.
func (o Offer) untouched() bool {
	now, err := os.Stat(o.File)
	return err != nil || o.seen == nil || // what is gone is offered until the folder is read again
		os.SameFile(now, o.seen) && now.ModTime().Equal(o.seen.ModTime()) && now.Size() == o.seen.Size()
}

// same reports whether two offers say the same.
func (o Offer) same(other Offer) bool {
	o.seen, other.seen = nil, nil
	return reflect.DeepEqual(o, other)
}

// program names what Offers with the same program share.
func (o Offer) program() string {
	return strings.Join(append([]string{o.Path, o.SHA256}, o.Args...), "\x00")
}

// readOffers reads all offers of a folder. Refused are the files of those that are
// not returned, and the error joins what is wrong with them. A folder that is not
// there has none.
func readOffers(dir string, with Options) (offers []Offer, refused []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, files, err
	}
	if why, hint := trusted(info, with.Owner); why != nil {
		return nil, files, &FileError{Path: dir, Err: why, Hint: hint + " " + dir}
	}
	var errs []error
	taken := map[string]string{}
	for _, file := range files {
		o, err := readOffer(file, with.Owner)
		if err == nil {
			err = with.free(o, taken[o.Kind])
		}
		if err != nil {
			errs, refused = append(errs, err), append(refused, file)
			continue
		}
		taken[o.Kind] = file
		offers = append(offers, o)
	}
	return offers, refused, errors.Join(errs...)
}

// free says why an offer may not have its name; before is the file that has it
// already, or empty.
func (with Options) free(o Offer, before string) error {
	const hint = "give it a name of its own"
	switch {
	case before != "":
		return &FileError{Path: o.File, Err: fmt.Errorf("kind %q is offered by %s already", o.Kind, before), Hint: hint}
	case with.Reserved != nil && with.Reserved(o.Kind):
		return &FileError{Path: o.File, Err: fmt.Errorf("kind %q is built in", o.Kind), Hint: hint}
	}
	return nil
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
				"kind, type, path, sha256, args, targets, choices and agreement are all that there is"))
		}
		return o, errors.Join(errs...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		message := strings.TrimPrefix(e.Error(), "toml: ")
		if len(e.Key()) > 0 && strings.HasPrefix(message, "cannot decode") {
			return o, placed(file, e, strings.Join(e.Key(), ".")+": is of the wrong type", "args and targets are lists of strings, choices a table of such, the others are strings")
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
	return o.validChoices(bad)
}

// validChoices holds args to the targets and choices, and these to args.
func (o *Offer) validChoices(bad func(hint, format string, args ...any) error) error {
	switch {
	case o.Type != "" && o.Type != typeExec:
		return bad("leave it out for a plugin", "type: %q is not %q", o.Type, typeExec)
	case o.Type == "" && (len(o.Targets) > 0 || len(o.Choices) > 0):
		return bad("a plugin judges its targets and options itself", "targets and choices are of type %q only", typeExec)
	case o.Type == "":
		return nil
	}
	all := strings.Join(o.Args, "\x00")
	for _, name := range slices.Sorted(maps.Keys(o.Choices)) {
		if !word(name) || name == "target" || len(o.Choices[name]) == 0 {
			return bad("as in warn = [\"80\", \"90\"]", "choices.%s: is no option with values to choose from", name)
		}
		if !strings.Contains(all, "{"+name+"}") {
			return bad("write {"+name+"} where it belongs", "choices.%s: is nowhere in args", name)
		}
		all = strings.ReplaceAll(all, "{"+name+"}", "")
	}
	if len(o.Targets) > 0 != strings.Contains(all, "{target}") {
		return bad("{target} in args is one of targets", "targets: one of targets and {target} is there without the other")
	}
	if i := placeholder.FindString(strings.ReplaceAll(all, "{target}", "")); i != "" {
		return bad("name it in choices", "args: there is no choice for %s", i)
	}
	return nil
}

var placeholder = regexp.MustCompile(`\{[a-z0-9_-]+\}`)
