package fleet

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
)

// The small fleet that Init makes.
var (
	//go:embed init/fleet.toml
	initTOML string
	//go:embed init/sites.csv
	initSites string
	//go:embed init/attachments.csv
	initAttachments string
)

// A pack is a secret, a plan is of one day; and sheets keep the ends of lines
// that their spreadsheet gave them.
const (
	initIgnore     = "/*.toml\n!/fleet.toml\n*.plan\n"
	initAttributes = "*.csv -text\n"
)

// Init makes a small fleet to start from in a directory, and the directory where
// it is not there. It replaces nothing. It gives the names of what it made.
func Init(dir string, signers bundle.Signers) ([]string, error) {
	made := []struct{ name, text string }{
		{tomlFile, strings.Replace(initTOML, "SIGNERS\n", signerLines(signers), 1)},
		{sitesFile, initSites},
		{attachmentsFile, initAttachments},
		{keysFile, strings.Join(keyColumns, ",") + "\n"},
		{addressesFile, strings.Join(addressColumns, ",") + "\n"},
		{generationsFile, strings.Join(generationColumns, ",") + "\n"},
		{".gitignore", initIgnore},
		{".gitattributes", initAttributes},
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, m := range made {
		if _, err := os.Lstat(filepath.Join(dir, m.name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already", filepath.Join(dir, m.name))
		}
	}
	var names []string
	for _, m := range made {
		if err := writeFile(filepath.Join(dir, m.name), []byte(m.text)); err != nil {
			return nil, err
		}
		names = append(names, m.name)
	}
	return names, nil
}

// signerLines are the lines of `signers`; a push needs two.
func signerLines(signers bundle.Signers) string {
	var b strings.Builder
	for _, s := range signers {
		b.WriteString("  " + config.Literal(s.String()) + ",\n")
	}
	for range 2 - min(2, len(signers)) {
		b.WriteString("  # \"ssh-ed25519 AAAA... another operator\",\n")
	}
	return b.String()
}
