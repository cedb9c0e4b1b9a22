package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// session is one life of a program.
type session struct {
	client  *goplugin.Client
	checks  pb.ChecksClient
	program *program
	kinds   map[string]*pb.Kind // what it says that it has

	mu        sync.Mutex
	stuck     int           // calls in a row that it did not answer
	validated time.Duration // that it took to validate, of late
	last      time.Time     // when it did so last
}

const (
	stuckMost  = 3           // unanswered calls in a row, then it is killed
	politeMost = time.Second // from being asked to end to being killed
	// validateRest ends a row of validations: those of one config follow closely.
	validateRest = 10 * time.Second
)

// has finds a kind of the program.
func (s *session) has(name string) (*pb.Kind, error) {
	if k := s.kinds[name]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("the program has no kind %q; it has %q", name, slices.Sorted(maps.Keys(s.kinds)))
}

// answered counts calls that a running program did not answer: one that hangs
// is killed, and so started anew.
func (s *session) answered(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck++
	if yes {
		s.stuck = 0
	}
	if s.stuck == stuckMost {
		s.program.fail("it hangs")
	}
}

// end asks the program to end, or makes it, and tells how it ended.
func (s *session) end() error {
	kill := time.AfterFunc(politeMost, func() { _ = s.program.Kill(context.Background()) })
	defer kill.Stop()
	s.client.Kill()
	<-s.program.ended
	return errors.New(s.program.how())
}

// validating is how long the program may take to validate one more check, and what is
// called when it has. All checks of a config share validateMost, so that a program
// that takes its time holds up no config, and with that no tunnel.
func (s *session) validating() (most time.Duration, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := time.Now()
	if begun.Sub(s.last) > validateRest {
		s.validated = 0
	}
	return validateMost - s.validated, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = time.Now()
		s.validated += s.last.Sub(begun)
	}
}
