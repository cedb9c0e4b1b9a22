// Command ginnel-check-clinical is a check plugin for clinical systems: it asks
// a DICOM node for an echo, and a FHIR server for what it can do. Neither
// touches data of a patient. README.md says what each does to a system, and that
// its owner's written agreement comes first.
package main

import (
	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/ginnel-check-clinical/internal/dicom"
	"github.com/ginnel/ginnel/cmd/ginnel-check-clinical/internal/fhir"
)

func main() { plugin.Serve(dicom.Kind(), fhir.Kind()) }
