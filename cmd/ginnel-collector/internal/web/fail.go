package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// forbid says that an operator may not do something.
func forbid(format string, a ...any) error {
	return &control.Refusal{Status: http.StatusForbidden, Code: "not_yours", Reason: fmt.Sprintf(format, a...),
		Advice: "an operator of all organisations may do it"}
}

// trouble is an error as people and programs are told it.
type trouble struct {
	status       int
	title        string // of a page
	reason, hint string
}

// troubleOf says what err is to the one who asked. Its text is told only where
// it is meant for others.
func troubleOf(err error) trouble {
	if denied, ok := errors.AsType[*access.Denied](err); ok {
		return trouble{http.StatusForbidden, "Not for you", denied.Reason, denied.Advice}
	}
	if no, ok := errors.AsType[*control.Refusal](err); ok {
		title := "Refused"
		if no.Status == http.StatusNotFound {
			title = "Not found"
		}
		return trouble{no.Status, title, no.Reason, no.Advice}
	}
	if errors.Is(err, store.ErrNotFound) {
		return trouble{http.StatusNotFound, "Not found", err.Error(), ""}
	}
	return trouble{http.StatusInternalServerError, "Trouble at the collector", "the collector could not answer", "its log says why"}
}

type errorPage struct {
	frame
	Text string
}

// fail answers what went wrong, as a page or as the API does.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for the answer
	}
	t := troubleOf(err)
	if t.status == http.StatusInternalServerError {
		s.log.Error("request failed", "path", r.URL.Path, "err", err)
	}
	if strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/metrics" {
		refuse(w, t.status, t.reason, t.hint)
		return
	}
	p := errorPage{s.frame(r, t.title), sentence(t.reason)}
	switch {
	case t.status == http.StatusNotFound:
		p.Text = "There is no such page, or nothing of that name."
	case t.hint != "":
		p.Text += " " + sentence(t.hint)
	}
	s.render(w, t.status, "error.html", p)
}

// sentence writes an error's text as one.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
