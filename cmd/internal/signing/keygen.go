package signing

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// keygenKey signs by ssh-keygen, which knows how to speak to a FIDO token and
// asks for its PIN and touch: the file holds no more than a handle.
func keygenKey(who bundle.Signer, file string, std cli.IO) *Key {
	return &Key{By: who, Where: file, sign: func(ctx context.Context, text []byte, namespace string) (bundle.Bundle, error) {
		cmd := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-f", file, "-n", namespace)
		var out, said bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, io.MultiWriter(&said, std.Err)
		switch err := cmd.Run(); {
		case errors.Is(err, exec.ErrNotFound):
			return bundle.Bundle{}, cli.WithHint(errors.New("ssh-keygen is not here, and a FIDO key needs it"), "apt install openssh-client")
		case err != nil:
			return bundle.Bundle{}, cli.WithHint(fmt.Errorf("ssh-keygen did not sign: %s", last(said.String(), err)),
				"is the token plugged in? Or hand the key to the agent: ssh-add "+file)
		}
		return bundle.Parse(append(bytes.Clone(text), out.Bytes()...))
	}}
}

// last is the last line that a program said.
func last(said string, err error) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return cmp.Or(lines[len(lines)-1], err.Error())
}
