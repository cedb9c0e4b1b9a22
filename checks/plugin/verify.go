package plugin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// OfferOf finds the file that offers a kind.
func OfferOf(dir, kind string, o Options) (file string, err error) {
	offers, _, err := readOffers(cmp.Or(dir, Dir), o)
	for _, offer := range offers {
		if offer.Kind == kind {
			return offer.File, nil
		}
	}
	if err == nil {
		err = &FileError{Path: cmp.Or(dir, Dir), Err: fmt.Errorf("no offer of kind %q", kind)}
	}
	return "", err
}

// Inspect reads an offer, or makes one for a program that nobody has offered
// yet, which then must belong to root or Owner.
func Inspect(path string, o Options) (Offer, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Offer{}, err
	}
	if strings.HasSuffix(path, ".toml") {
		return readOffer(path, o.Owner)
	}
	f, _, err := openTrusted(path, o.Owner)
	if err != nil {
		return Offer{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return Offer{}, err
	}
	return Offer{Path: path, SHA256: hex.EncodeToString(sum.Sum(nil)), Agreement: "to be written"}, nil
}

// Try starts an offer's program as Load would, and returns its kinds: the
// offered one, or where the offer has none all of them. The kinds are running
// until end is called.
func Try(ctx context.Context, offer Offer, o Options) (kinds []checks.Kind, end func(), err error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if offer.Type == typeExec {
		k, err := execKind(offer, o)
		return []checks.Kind{k}, func() {}, err
	}
	p, err := begin(ctx, offer, o)
	if p == nil {
		return nil, func() {}, err
	}
	end = p.stop
	defer func() {
		if err != nil {
			end()
			end = func() {}
		}
	}()
	s, absent := p.now()
	if err = cmp.Or(err, absent); err != nil || s == nil {
		return nil, end, cmp.Or(err, fmt.Errorf("%s: ended", offer.Path))
	}
	names := []string{offer.Kind}
	if offer.Kind == "" {
		names = slices.Sorted(maps.Keys(s.kinds))
	}
	for _, name := range names {
		p.mu.Lock()
		as := offer
		as.Kind = name
		p.offers[name] = as
		p.mu.Unlock()
		k, err := p.kindOf(name)
		if err != nil {
			return nil, end, err
		}
		kinds = append(kinds, k)
	}
	return kinds, end, nil
}

// Text is the offer as a file of checks.d.
func (o Offer) Text(kind string) string {
	text := fmt.Sprintf("kind   = %q\npath   = %q\nsha256 = %q\n", kind, o.Path, o.SHA256)
	if info, err := os.Stat(o.Path); err == nil {
		if why, hint := trusted(info, 0); why != nil {
			text = "# first: " + hint + " " + o.Path + "\n" + text
		}
	}
	return text
}
