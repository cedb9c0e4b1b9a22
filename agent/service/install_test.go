package service_test

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/service"
)

// Where a service could not run its program, it is not installed.
func TestInstallRefusesWhereAServiceCannotLook(t *testing.T) {
	for _, program := range []string{"/root/ginnel", "/home/sam/ginnel", "/tmp/ginnel"} {
		err := service.Setup{Program: program}.Install(t.Context())
		if err == nil || !strings.Contains(err.Error(), program+" is where a service cannot look") {
			t.Errorf("%s: %v", program, err)
		}
	}
}
