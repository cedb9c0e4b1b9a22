package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
)

// Errors that callers decide by, besides those of bundle and config.Problems.
var (
	ErrDamaged   = errors.New("it is damaged")
	ErrNoSigners = errors.New("no signer is known here")
	ErrGateway   = errors.New("it is for another gateway")
	ErrByHand    = errors.New("it has no generation")
	ErrOld       = errors.New("it is older than what was accepted here")
	ErrOther     = errors.New("another config of its generation was accepted here")
	ErrLeap      = errors.New("its number is far above the one before")
)

// leap is how far a number may rise at once. Without a bound one text, signed with
// a key that was lost, would be above all that can ever follow.
const leap = 1_000_000

// Refusal is an error with what to do about it.
type Refusal struct {
	Err    error
	Advice string
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Hint is what to do next.
func (r *Refusal) Hint() string { return r.Advice }

func refuse(err error, advice string) error { return &Refusal{err, advice} }

// Offer is a config that this gateway may run: see Judge.
type Offer struct {
	Bundle bundle.Bundle
	Config *config.Config
	By     bundle.Signer

	judged bool
}

// Judge says whether a signed config, raw as bundle.Parse reads it, may run at
// the gateway of that name: signed by somebody who is accepted now, whole, for
// this gateway, and not older than what was accepted before. It changes
// nothing. The error is config.Problems or a Refusal.
func (t *Trust) Judge(raw []byte, gateway string) (*Offer, error) {
	if t.damaged != nil {
		return nil, t.damaged
	}
	t.mu.Lock()
	kept, signers := t.kept, t.signers()
	t.mu.Unlock()
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, unsigned("config", err, bundle.Config, signers)
	}
	var by bundle.Signer
	if kept.Hash != "" && b.Hash() == kept.Hash {
		// It was verified when it was accepted; its signer may have signed
		// themselves away since.
		by, err = bundle.ParseSigner(kept.By)
	} else {
		by, err = verify(b, bundle.Config, signers)
	}
	if err != nil {
		return nil, unsigned("config", err, bundle.Config, signers)
	}
	c, err := config.Parse("pushed.toml", b.Text)
	if err != nil {
		return nil, err
	}
	if err := fits(c, kept, gateway); err != nil {
		return nil, err
	}
	return &Offer{Bundle: b, Config: c, By: by, judged: true}, nil
}

// verify says who signed; a gateway that knows no signers says so.
func verify(b bundle.Bundle, namespace string, signers bundle.Signers) (bundle.Signer, error) {
	if len(signers) == 0 {
		return bundle.Signer{}, ErrNoSigners
	}
	return b.Verify(namespace, signers)
}

// fits refuses what is another gateway's, or old.
func fits(c *config.Config, kept record, gateway string) error {
	const newer = "central ops push again, with a generation above %d"
	switch {
	case c.Gateway != gateway:
		return refuse(fmt.Errorf("config refused: %w: %s, and this one is %s", ErrGateway, c.Gateway, gateway),
			"was the file meant for "+c.Gateway+"?")
	case c.Generation == 0:
		return refuse(fmt.Errorf("config refused: %w", ErrByHand), "ginnelctl push writes one")
	case c.Generation < kept.Mark:
		return refuse(fmt.Errorf("config refused: %w: generation %d, and %d was accepted", ErrOld, c.Generation, kept.Mark),
			fmt.Sprintf(newer, kept.Mark))
	case c.Generation > kept.Mark+leap:
		return refuse(fmt.Errorf("config refused: %w: generation %d, and %d was accepted", ErrLeap, c.Generation, kept.Mark),
			fmt.Sprintf("at most %d above it; who signed that?", leap))
	case c.Generation == kept.Mark && kept.Hash != "" && c.Hash != kept.Hash: // "": of another site pack
		return refuse(fmt.Errorf("config refused: %w: generation %d", ErrOther, c.Generation), fmt.Sprintf(newer, kept.Mark))
	}
	return nil
}

// unsigned says why a signature is not accepted, and what to do. what is
// "config" or "list".
func unsigned(what string, err error, namespace string, signers bundle.Signers) error {
	advice := ""
	switch {
	case errors.Is(err, ErrNoSigners):
		advice = "the site pack names none: ask central ops for a new one"
	case errors.Is(err, bundle.ErrUnsigned):
		advice = "was all of the file copied? Its signature stands at its end"
	case errors.Is(err, bundle.ErrCutOff):
		advice = "copy or send it again"
	case errors.Is(err, bundle.ErrSigner):
		advice = "accepted here: " + names(signers)
	case errors.Is(err, bundle.ErrPurpose):
		advice = "signed by hand? ssh-keygen -Y sign -n " + namespace
	case errors.Is(err, bundle.ErrAltered):
		advice = "it was changed after it was signed, if only in its line ends: take it anew from who signed it"
	}
	return refuse(fmt.Errorf("%s refused: %w", what, err), advice)
}

// names lists signers for a person.
func names(signers bundle.Signers) string {
	var list []string
	for _, s := range signers {
		list = append(list, strings.TrimSpace(s.Name+" "+s.Fingerprint()))
	}
	return strings.Join(list, ", ")
}

// Accept raises the mark to an offer, for good, before it is tried. The same
// one again changes nothing; one that became old since it was judged is
// refused, and one whose signer was shut out meanwhile.
func (t *Trust) Accept(o *Offer) error {
	if !o.judged {
		return errors.New("accept: it was not judged")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := fits(o.Config, t.kept, o.Config.Gateway); err != nil || o.Config.Hash == t.kept.Hash {
		return err
	}
	if _, err := verify(o.Bundle, bundle.Config, t.signers()); err != nil {
		return unsigned("config", err, bundle.Config, t.signers())
	}
	next := t.kept
	next.Mark, next.Hash, next.By = o.Config.Generation, o.Config.Hash, o.By.String()
	return t.write(next)
}

// Confirm has the signers of a config that was accepted, and proved itself, be
// those of the next. Twice is once. One that is not the newest that was
// accepted changes no signers any more, and is an error.
func (t *Trust) Confirm(o *Offer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !o.judged || o.Config.Hash != t.kept.Hash {
		return fmt.Errorf("confirm generation %d: it is not the one that was accepted, %d", o.Config.Generation, t.kept.Mark)
	}
	next := t.kept
	next.Signers = o.Config.Signers
	if slices.Equal(next.Signers, t.kept.Signers) {
		return nil
	}
	return t.write(next)
}
