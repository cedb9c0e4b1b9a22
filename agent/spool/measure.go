package spool

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// Subject says what a sample or a state is about.
type Subject struct {
	Class     block.Class
	Name      string
	Network   string
	Target    string
	StandsFor string
}

// current is the open block with its journal.
type current struct {
	block *block.Block
	mono  time.Duration // at the block's start
	seen  time.Duration // mono when something was last written
	file  *os.File      // nil: in memory only
	name  string
	size  int64 // of the file, as far as it is whole
}

// maxJournal ends a block early, so that no block grows too large to be packed.
const maxJournal = 1 << 20

// maxGathered is how much is gathered before it is written, in bytes.
const maxGathered = 16 << 10

// maxWords bounds what a subject or an edge may say in one field, in bytes.
const maxWords = 400

func words(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "")
	}
	return s
}

// Sample counts one result. When it returns nil the sample survives kill -9, and
// after at most ten seconds a power cut; ErrMemory says that it does not yet.
func (s *Spool) Sample(sub Subject, r checks.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.sample(sub, r)
	return errors.Join(err, s.flush())
}

// SampleSoon is Sample, but what it counts survives kill -9 only after the next
// Flush, or after anything else that is written.
func (s *Spool) SampleSoon(sub Subject, r checks.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sample(sub, r)
}

// Flush writes what SampleSoon has gathered.
func (s *Spool) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
}

func (s *Spool) sample(sub Subject, r checks.Result) error {
	if err := s.turn(); err != nil {
		return err
	}
	err := s.declare(sub, checks.UnknownState)
	i := s.places.find(s.open.block.Subjects, sub.Class, words(sub.Name))
	if i < 0 {
		return fmt.Errorf("sample of %s: %w", sub.Name, err)
	}
	err = errors.Join(err, s.write(line{Kind: sampleLine, Sample: &sample{i, r.Verdict, r.Sent, r.Received, r.RTT}}))
	if err != nil {
		return fmt.Errorf("sample of %s: %w", sub.Name, err)
	}
	return nil
}

// Edge records a change of state, durably: it also survives a power cut. An
// edge without a time is of now.
func (s *Spool) Edge(e block.Edge) error {
	s.mu.Lock()
	if err := s.turn(); err != nil {
		s.mu.Unlock()
		return err
	}
	err := s.edge(e)
	file := s.open.file
	s.mu.Unlock()
	if err == nil && file != nil {
		if err = file.Sync(); errors.Is(err, os.ErrClosed) {
			err = s.persist() // the block was sealed in between
		}
	}
	if err != nil {
		return fmt.Errorf("edge of %s: %w", e.Name, err)
	}
	return nil
}

func (s *Spool) edge(e block.Edge) error {
	e.Name, e.Code, e.Text, e.Owner = words(e.Name), words(e.Code), words(e.Text), words(e.Owner)
	e.Reason = checks.Reason(words(string(e.Reason)))
	e.From, e.To = cmp.Or(e.From, checks.UnknownState), cmp.Or(e.To, checks.UnknownState)
	if e.At.IsZero() {
		e.At, _ = s.clock()
	}
	e.At = trim(e.At)
	if err := block.CheckEdge(e); err != nil {
		return err
	}
	var err error
	if s.places.find(s.subjects, e.Class, e.Name) < 0 {
		err = s.declare(Subject{Class: e.Class, Name: e.Name}, e.From)
	}
	i := s.places.find(s.subjects, e.Class, e.Name)
	s.subjects[i].State, s.subjects[i].Since, s.subjects[i].Cause = e.To, e.At, e.Cause()
	return errors.Join(err, s.write(line{Kind: edgeLine, Edge: &e}))
}

// Refused counts packets that a rule of a network's filter has refused since
// the last call.
func (s *Spool) Refused(r block.Refused) error {
	if r.Packets == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turn(); err != nil {
		return err
	}
	r.Network, r.Rule = words(r.Network), words(r.Rule)
	if err := s.write(line{Kind: refusedLine, Refused: &r}); err != nil {
		return fmt.Errorf("refusals of %s: %w", r.Network, err)
	}
	return nil
}

// SetState declares a subject and the state that it is in now, when the agent
// begins with it. Later changes are edges; SetState makes one where it differs
// from what was last known.
func (s *Spool) SetState(sub Subject, state checks.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turn(); err != nil {
		return err
	}
	state = cmp.Or(state, checks.UnknownState)
	begin := checks.UnknownState
	if _, mono := s.clock(); mono-s.open.mono < time.Second {
		begin = state // the block has only begun
	}
	err := s.declare(sub, begin)
	if i := s.places.find(s.subjects, sub.Class, words(sub.Name)); i >= 0 && s.subjects[i].State != state {
		err = errors.Join(err, s.edge(block.Edge{Class: sub.Class, Name: sub.Name, From: s.subjects[i].State, To: state}))
	}
	if err != nil {
		return fmt.Errorf("state of %s: %w", sub.Name, err)
	}
	return nil
}

// Forget ends a subject that is wanted no more: its state is unknown from now,
// and the next block does not have it.
func (s *Spool) Forget(class block.Class, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turn(); err != nil {
		return err
	}
	i := s.places.find(s.subjects, class, words(name))
	if i < 0 {
		return nil
	}
	err := s.edge(block.Edge{Class: class, Name: name, From: s.subjects[i].State, To: checks.UnknownState, Reason: checks.NotRun, Text: "not wanted any more"})
	s.subjects = slices.Delete(s.subjects, i, i+1)
	delete(s.places, subjectKey{class, words(name)})
	if err != nil {
		return fmt.Errorf("forget %s: %w", name, err)
	}
	return nil
}

// declare makes sure that the open block has the subject, with these words.
func (s *Spool) declare(sub Subject, state checks.State) error {
	d := block.Subject{
		Class: sub.Class, Name: words(sub.Name), Network: words(sub.Network), Target: words(sub.Target), StandsFor: words(sub.StandsFor), State: state,
	}
	i := s.places.find(s.subjects, d.Class, d.Name)
	if i >= 0 {
		old := &s.subjects[i]
		if old.Network == d.Network && old.Target == d.Target && old.StandsFor == d.StandsFor {
			return nil
		}
		old.Network, old.Target, old.StandsFor = d.Network, d.Target, d.StandsFor
		d = *old
	} else {
		wall, _ := s.clock()
		d.Since = trim(wall)
		if err := block.CheckSubject(d); err != nil {
			return err
		}
		if len(s.subjects) >= block.MaxSubjects {
			return fmt.Errorf("%d subjects are there, and no more are possible", len(s.subjects))
		}
		s.subjects = append(s.subjects, d)
	}
	said := d // only what is written leaves the stack
	return s.write(line{Kind: subjectLine, Subject: &said})
}

// write puts a line into the journal and into the open block.
func (s *Spool) write(l line) error {
	c := s.open
	_, mono := s.clock()
	l.Elapsed, c.seen = max(1, mono-c.mono), mono
	if !l.apply(c.block) {
		return fmt.Errorf("line %q does not fit the open block", l.Kind)
	}
	return s.append(l)
}

// append puts a line into the journal. After a failure the journal is closed with
// its whole lines, and the block goes on in memory.
func (s *Spool) append(l line) error {
	before := len(s.gathered)
	raw, err := l.appendTo(s.gathered)
	if err != nil {
		return err
	}
	s.gathered = raw
	s.open.size += int64(len(raw) - before)
	if s.open.file == nil {
		s.gathered = s.gathered[:0]
		return fmt.Errorf("%w: %w", ErrMemory, s.fault)
	}
	if l.Kind == sampleLine && len(raw) < maxGathered {
		return nil
	}
	return s.flush()
}

// flush writes the lines that are gathered.
func (s *Spool) flush() error {
	if len(s.gathered) == 0 || s.open == nil || s.open.file == nil {
		return nil
	}
	c := s.open
	_, err := c.file.Write(s.gathered)
	if s.gathered = s.gathered[:0]; cap(s.gathered) > 2*maxGathered {
		s.gathered = nil
	}
	if err == nil {
		return nil
	}
	s.setFault(errors.Join(err, c.file.Sync(), c.file.Close()))
	c.file = nil
	return fmt.Errorf("%w: %w", ErrMemory, err)
}

// setFault notes what is wrong with the journal, and logs changes.
func (s *Spool) setFault(err error) {
	switch {
	case err != nil && s.fault == nil:
		s.o.Log.Error("spool cannot write what is measured; it is kept in memory for now", "err", err)
	case err == nil && s.fault != nil:
		s.o.Log.Info("spool writes again")
	}
	s.fault = err
}
