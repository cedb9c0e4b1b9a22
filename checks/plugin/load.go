package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

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
	Log   *slog.Logger // nil: none

	noDeathSignal bool   // for a test of the other way to die
	verified      func() // for a test: called between verifying and executing
}

// Load reads the offers in dir, starts their programs, and returns their kinds.
// Each kind's Close ends its program; a program that ends by itself is started
// again. The error joins what is wrong with each offer that is left out; the
// others are returned nevertheless. A dir that is not there has no offers.
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
			errs = append(errs, fmt.Errorf("%s: kind %q is not offered: %w", offer.File, offer.Kind, err))
			continue
		}
		kinds = append(kinds, k)
	}
	return kinds, errors.Join(errs...)
}

// loadOne makes a kind, in a process that is running already or a new one.
func loadOne(ctx context.Context, offer Offer, o Options, running map[string]*process) (checks.Kind, error) {
	p := running[offer.program()]
	if p != nil {
		p.share()
	} else {
		var err error
		if p, err = begin(ctx, offer, o); err != nil {
			return checks.Kind{}, err
		}
	}
	k, err := describe(ctx, p, offer.Kind)
	if err != nil {
		return checks.Kind{}, errors.Join(err, p.Close())
	}
	running[offer.program()] = p
	return k, nil
}

// Verify reads one offer, starts its program as Load would, asks it for its
// kind and ends it: what `ginnel check plugin verify` shows.
func Verify(ctx context.Context, file string, o Options) (Offer, checks.Kind, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	offer, err := readOffer(file, o.Owner)
	if err != nil {
		return offer, checks.Kind{}, err
	}
	k, err := loadOne(ctx, offer, o, map[string]*process{})
	if err != nil {
		return offer, checks.Kind{}, fmt.Errorf("%s: kind %q: %w", file, offer.Kind, err)
	}
	return offer, k, k.Close()
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
