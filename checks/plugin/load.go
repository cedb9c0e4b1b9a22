package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Dir is where a gateway's owner offers plugins.
const Dir = "/etc/ginnel/checks.d"

// Options is what Load works with. The zero value is right for an agent that
// logs nothing.
type Options struct {
	// SocketDir is a folder for the plugins' sockets, which Load makes if it
	// is not there and empties of what a former agent left; empty: the
	// system's temporary folder. No two agents may share one.
	SocketDir string
	// Owner is the user, besides root, that offers and programs may belong
	// to. 0: root only.
	Owner uint32
	// Host is the socket on which systemd starts an instance for each program;
	// where it does not listen, programs are started from here.
	Host string
	// Reserved says which names of kinds no offer may take; nil: it may take any.
	Reserved func(kind string) bool
	Log      *slog.Logger // nil: none

	memory        uint64        // for a test: bytes; 0: childMemory
	pause         time.Duration // for a test: the first; 0: pauseFirst
	noDeathSignal bool          // for a test of the other way to die
	verified      func()        // for a test: called between verifying and executing
}

// Load is what Kinds of new Programs returns.
func Load(ctx context.Context, dir string, o Options) ([]checks.Kind, error) {
	return NewPrograms(dir, o).Kinds(ctx)
}

// sockets makes the folder for sockets and removes what is left in it.
func (o Options) sockets() error {
	if o.SocketDir == "" {
		return nil
	}
	if err := os.MkdirAll(o.SocketDir, 0o700); err != nil {
		return fmt.Errorf("folder for the plugins' sockets: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(o.SocketDir, "plugin-dir*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("what a former agent left: %w", err)
		}
	}
	return nil
}
