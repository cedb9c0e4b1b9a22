// Package service makes the agent a system service, by kardianos/service. It is
// the only place that knows that library.
package service

import (
	"context"

	"github.com/kardianos/service"
)

// Name is the service's name.
const Name = "ginnel"

// program is main as the library starts and stops it.
type program struct {
	ctx    context.Context
	cancel context.CancelFunc
	main   func(context.Context) error
	done   chan struct{}
	err    error
}

// Start begins main and returns at once.
func (p *program) Start(service.Service) error {
	go func() {
		defer close(p.done)
		p.err = p.main(p.ctx)
	}()
	return nil
}

// Stop ends main and waits for it.
func (p *program) Stop(service.Service) error {
	p.cancel()
	<-p.done
	return p.err
}

// Run runs main under the service manager, or without one, until it returns. The
// library waits for main's end and not for a signal, so that an agent that
// fails does not stay; signals are main's business.
func Run(ctx context.Context, main func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &program{ctx: ctx, cancel: cancel, main: main, done: make(chan struct{})}
	s, err := service.New(p, &service.Config{
		Name:   Name,
		Option: service.KeyValue{"RunWait": func() { <-p.done }},
	})
	if err != nil {
		return err
	}
	return s.Run()
}
