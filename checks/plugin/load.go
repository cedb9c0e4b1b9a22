package plugin

import (
	"cmp"
	"context"
	"errors"
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
	Log  *slog.Logger // nil: none

	memory        uint64        // for a test: bytes; 0: childMemory
	pause         time.Duration // for a test: the first; 0: pauseFirst
	noDeathSignal bool          // for a test of the other way to die
	verified      func()        // for a test: called between verifying and executing
}

// Load reads the offers in dir, starts their programs, and returns their kinds.
// Each kind's Close ends its program; a program that ends by itself, or could
// not be started, is started again. Until it is there its kinds are Late, and
// their checks say why they are not run. The error joins that with what is wrong
// with offers that cannot be read, and so are left out. A dir that is not there
// has no offers.
func Load(ctx context.Context, dir string, o Options) ([]checks.Kind, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := o.sockets(); err != nil {
		return nil, err
	}
	offers, err := readOffers(cmp.Or(dir, Dir), o.Owner)
	errs := []error{err}
	var kinds []checks.Kind
	running := map[string]*process{}
	for _, offer := range offers {
		k, err := loadOne(ctx, offer, o, running)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: kind %q is not there: %w", offer.File, offer.Kind, err))
		}
		if k.New != nil {
			kinds = append(kinds, k)
		}
	}
	return kinds, errors.Join(errs...)
}

// loadOne makes a kind, in a process that is running already or a new one. With
// an error the kind is late; its zero value if ctx ended.
func loadOne(ctx context.Context, offer Offer, o Options, running map[string]*process) (k checks.Kind, err error) {
	if offer.Type == typeExec {
		return execKind(offer, o)
	}
	p := running[offer.program()]
	if p != nil {
		p.share(offer)
	} else if p, err = begin(ctx, offer, o); p == nil {
		return k, err
	}
	running[offer.program()] = p
	k, late := p.kindOf(offer.Kind)
	return k, cmp.Or(err, late)
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
