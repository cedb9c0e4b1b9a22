package reach

import (
	"errors"
	"fmt"
	"strings"
)

// shown is how much of an answer that is none is repeated, in bytes as Go quotes
// them.
const shown = 40

// InWords puts what net/http says of an answer that is no HTTP into few words:
// it repeats as much of the answer as came. Other errors stay as they are.
func InWords(err error) error {
	text := err.Error()
	for _, begin := range []string{"malformed HTTP response ", "malformed HTTP status code ", "malformed HTTP version "} {
		_, said, found := strings.Cut(text, begin)
		if !found {
			continue
		}
		if said = strings.Trim(strings.ToValidUTF8(said, "?"), `"`); len(said) > shown {
			said = strings.ToValidUTF8(said[:shown], "") + "..."
		}
		return fmt.Errorf("the answer is not HTTP, as in \"%s\"", said)
	}
	if _, bound, found := strings.Cut(text, "server response headers exceeded "); found {
		return fmt.Errorf("headers of more than %s", strings.TrimSuffix(bound, "; aborted"))
	}
	if _, rest, found := strings.Cut(text, "HTTP/1.x transport connection broken: "); found {
		if cause := errors.Unwrap(err); cause != nil {
			return cause
		}
		return errors.New(rest)
	}
	return err
}
