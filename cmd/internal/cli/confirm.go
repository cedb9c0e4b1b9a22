package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Confirm asks, and takes nothing but a yes; otherwise is the error of a no.
// yes says that it was answered on the command line.
func Confirm(std IO, yes bool, question, otherwise string) error {
	if yes {
		_, err := fmt.Fprintln(std.Out, question, "yes")
		return err
	}
	if _, err := fmt.Fprint(std.Out, question, " [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(std.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return WithHint(errors.New(otherwise), "y goes on; so does --yes")
}
