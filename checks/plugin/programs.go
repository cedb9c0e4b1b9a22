package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/ginnel/ginnel/checks"
)

// Programs are those that a folder offers.
type Programs struct {
	dir     string
	options Options

	mu   sync.Mutex
	have map[string]kept // by kind; nil: the folder was not read yet
}

// kept is a kind with what it was made of.
type kept struct {
	offer   Offer
	kind    checks.Kind
	process *process // nil: of type exec
}

// NewPrograms reads and starts nothing yet. An empty dir is Dir.
func NewPrograms(dir string, o Options) *Programs {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Programs{dir: cmp.Or(dir, Dir), options: o}
}

// Kinds reads the offers, starts their programs, and returns their kinds, sorted
// by the offers' files. Each kind's Close ends its program; a program that ends by
// itself, or could not be started, is started again. Until it is there its kinds are
// Late, and their checks say why they are not run. The error joins that with what is
// wrong with offers that cannot be read, and so are left out. A folder that is not
// there has no offers.
//
// Called again it reads them again. A kind whose offer is what it was is returned as
// it was, and its program goes on. So does one whose file cannot be read any more:
// what is wrong with it is told. Of a kind that is gone, or another one now, the
// former value is the caller's to close.
func (p *Programs) Kinds(ctx context.Context) ([]checks.Kind, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have == nil {
		if err := p.options.sockets(); err != nil {
			return nil, err
		}
	}
	offers, refused, err := readOffers(p.dir, p.options)
	errs := []error{err}
	now := map[string]kept{}
	for _, o := range offers {
		k, err := p.take(ctx, o, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: kind %q is not there: %w", o.File, o.Kind, err))
		}
		if k.kind.New != nil {
			now[o.Kind] = k
		}
	}
	for name, k := range p.have {
		if _, again := now[name]; !again && slices.Contains(refused, k.offer.File) {
			now[name] = k
		}
	}
	p.have = now
	list := slices.SortedFunc(maps.Values(now), func(a, b kept) int { return cmp.Compare(a.offer.File, b.offer.File) })
	var kinds []checks.Kind
	for _, k := range list {
		kinds = append(kinds, k.kind)
	}
	return kinds, errors.Join(errs...)
}

// take makes the kind of an offer, unless it is there as it is. With an error the
// kind is late, or its zero value if ctx ended.
func (p *Programs) take(ctx context.Context, o Offer, now map[string]kept) (k kept, err error) {
	old, had := p.have[o.Kind]
	switch {
	case o.Type == typeExec && had && old.offer.same(o):
		return old, nil
	case o.Type == typeExec:
		k.offer = o
		k.kind, err = execKind(o, p.options)
		return k, err
	case had && old.process != nil && old.process.offer(o.Kind).program() == o.program():
		return old.again(o), nil
	}
	k.offer = o
	if k.process = running(o, now, p.have); k.process != nil {
		k.process.share(o)
	} else if k.process, err = begin(ctx, o, p.options); k.process == nil {
		return k, err
	}
	var late error
	k.kind, late = k.process.kindOf(o.Kind)
	return k, cmp.Or(err, late)
}

// running is the process of an offer's program; nil: there is none yet.
func running(o Offer, among ...map[string]kept) *process {
	for _, list := range among {
		for name, k := range list {
			if k.process != nil && k.process.offer(name).program() == o.program() {
				return k.process
			}
		}
	}
	return nil
}

// again is the kind of a program that goes on. It is another one where the program
// says other things of it now than when it was made.
func (k kept) again(o Offer) kept {
	k.process.follow(o)
	k.offer = o
	fresh, err := k.process.describe(o.Kind)
	if err != nil || reflect.DeepEqual(described(fresh), described(k.kind)) {
		return k
	}
	k.process.share(o)
	k.kind, _ = k.process.kindOf(o.Kind)
	return k
}

// described is what a program says of a kind.
func described(k checks.Kind) checks.Kind {
	return checks.Kind{Name: k.Name, Doc: k.Doc, Schema: k.Schema, Late: k.Late, NeedsAgreement: k.NeedsAgreement}
}
