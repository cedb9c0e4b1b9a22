package trial

import (
	"context"
	"slices"
	"strings"
	"time"
)

// merge puts what is measured now beside what is known from before. What is not
// measured any more is unsure.
func merge(before, now []Part) []Part {
	all := slices.Clone(before)
	for i := range all {
		all[i].Now, all[i].Is = Unsure, ""
		if j := slices.IndexFunc(now, func(p Part) bool { return p.Name == all[i].Name }); j >= 0 {
			all[i].Now, all[i].Is = now[j].Now, now[j].Is
		}
	}
	return all
}

// moved compares look-ups, "WHAT: WAY" each. What is not answered any more has
// not moved: a resolver that is away says nothing of us, and the way to it is
// compared too.
func moved(before, now []string) (lines []string) {
	ways := map[string]string{}
	for _, line := range now {
		what, way, _ := strings.Cut(line, ": ")
		ways[what] = way
	}
	for _, line := range before {
		what, was, _ := strings.Cut(line, ": ")
		if is, ok := ways[what]; ok && is != was {
			lines = append(lines, what+": "+was+" -> "+is)
		}
	}
	return lines
}

// note makes a record durable, and then the one that is shown.
func (t *Trial) note(r Record) error {
	if err := t.Journal.Write(r); err != nil {
		return err
	}
	t.set(r)
	return nil
}

func (t *Trial) set(r Record) {
	t.mu.Lock()
	t.record = r.trimmed()
	t.mu.Unlock()
	t.tell()
}

func (t *Trial) tell() {
	if t.Changed != nil {
		t.Changed()
	}
}

// keep ends a trial well, once the disk takes that. Until then both configs are on
// it, and a restart of the gateway goes back.
func (t *Trial) keep(ctx context.Context, r Record, d Decision) error {
	err := t.insist(ctx, "the confirmed config cannot be kept", func() error {
		if err := t.Journal.Keep(r); err != nil {
			return err
		}
		return t.Host.Keep(r.Bundle)
	})
	if err != nil {
		return err
	}
	r.Phase, r.Ended, r.Reason, r.Evidence = Kept, time.Now(), "", d.Evidence
	t.Log.Info("config confirmed", "generation", r.Generation)
	return t.conclude(ctx, r)
}

// conclude makes the end of a trial durable, and does not give up.
func (t *Trial) conclude(ctx context.Context, r Record) error {
	return t.insist(ctx, "the end of the trial cannot be written down", func() error { return t.note(r) })
}

// insist does what has to be done until it is. The log hears of the first failure.
func (t *Trial) insist(ctx context.Context, failing string, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		if !told {
			t.Log.Error("a trial cannot go on, it is tried again", "what", failing, "err", err)
		}
		select {
		case <-ctx.Done():
			return ErrInterrupted
		case <-time.After(again):
		}
	}
}

// hold keeps both configs until somebody can tell. What is good now is proved.
func (t *Trial) hold(r Record, e Evidence, d Decision) Record {
	r.Phase, r.Reason, r.Evidence = Held, d.Reason, d.Evidence
	r.Tunnels, r.Checks = proven(e.Tunnels), proven(e.Checks)
	t.Log.Warn("config held, unconfirmed", "generation", r.Generation, "reason", d.Reason)
	if err := t.note(r); err != nil {
		t.Log.Error("the hold cannot be written down; a restart of the gateway goes back", "err", err)
		t.set(r)
	}
	return r
}

func proven(parts []Part) []Part {
	for i := range parts {
		parts[i].Proven = parts[i].Proven || parts[i].Now == Good
	}
	return parts
}

// back puts the old config back, and waits a while to see whether that helps
// those that are dead.
func (t *Trial) back(ctx context.Context, r Record, d Decision, dead []Part) error {
	r.Phase, r.Reason, r.Evidence = Leaving, d.Reason, d.Evidence
	t.Log.Error("config gone back from", "generation", r.Generation, "reason", d.Reason, "evidence", strings.Join(d.Evidence, "; "))
	if err := t.note(r); err != nil {
		t.Log.Error("the journal cannot be written; a restart goes back too", "err", err)
		t.set(r)
	}
	if err := t.restore(ctx); err != nil {
		return err
	}
	if why := t.inconclusive(ctx, r, dead); ctx.Err() != nil {
		return ErrInterrupted
	} else if why != "" {
		r.Reason = Inconclusive + why + " (" + d.Reason + ")"
	}
	r.Phase, r.Ended = Failed, time.Now()
	return t.conclude(ctx, r)
}

// Inconclusive begins the reason of a trial that failed and was perhaps not at
// fault: the same config may be offered again.
const Inconclusive = "inconclusive: "

// mostTries is how often a config is tried that is perhaps not at fault. Each
// time the site is without what it kills until it is gone back from.
const mostTries = 3

// Again reports whether the config may be tried once more.
func (r Record) Again() bool {
	return r.Phase == Failed && strings.HasPrefix(r.Reason, Inconclusive) && r.Tries < mostTries
}

// restarted is the reason of a trial that a reboot ended.
const restarted = "the gateway restarted during the trial"

// restore puts the last good config back; it does not give up.
func (t *Trial) restore(ctx context.Context) error {
	return t.insist(ctx, "the old config cannot be put back", func() error {
		text, err := t.Journal.Good()
		if err != nil {
			return err
		}
		return t.Host.Run(ctx, text)
	})
}

// inconclusive says why going back proves nothing: what was dead stays so.
// Empty: the config was at fault, as far as can be told.
func (t *Trial) inconclusive(ctx context.Context, r Record, dead []Part) string {
	if r.Reason == restarted {
		return "nobody knows what it had come to"
	}
	if len(dead) == 0 {
		return ""
	}
	begin := time.Now()
	for time.Since(begin) < aftermath && ctx.Err() == nil {
		now := append(t.Tunnels.Tunnels(ctx, begin), t.Checks.Required(ctx, begin)...)
		for _, p := range merge(dead, now) {
			if p.Now == Good {
				return ""
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
	if len(dead) == 1 {
		return names(dead) + " is dead under the old config too"
	}
	return names(dead) + " are dead under the old config too"
}
