package dicom

import "fmt"

// rejection is the content of A-ASSOCIATE-RJ (PS3.8 9.3.4).
type rejection struct{ result, source, reason byte }

func parseRejection(body []byte) (rejection, error) {
	if len(body) < 4 {
		return rejection{}, malformed("a rejection of %d bytes", len(body))
	}
	return rejection{body[1], body[2], body[3]}, nil
}

// transient says whether asking again later may help.
func (r rejection) transient() bool { return r.result == 2 }

// explain says in words what was rejected, and whom to ask.
func (r rejection) explain(called, calling string) string {
	switch [2]byte{r.source, r.reason} {
	case [2]byte{1, 1}, [2]byte{2, 1}:
		return "no reason given"
	case [2]byte{1, 2}:
		return "it does not know the application context of DICOM"
	case [2]byte{1, 3}:
		return fmt.Sprintf("it does not know our AE title %s (calling): its owner has to add it", calling)
	case [2]byte{1, 7}:
		return fmt.Sprintf("it is not %s (called): the AE title in the config is not its own", called)
	case [2]byte{2, 2}:
		return "it does not speak this version of the protocol"
	case [2]byte{3, 1}:
		return "it is congested"
	case [2]byte{3, 2}:
		return "it has as many associations as it takes"
	}
	return fmt.Sprintf("source %d, reason %d", r.source, r.reason)
}

func (r rejection) String() string {
	if r.transient() {
		return "rejected for now"
	}
	return "rejected for good"
}

// abortion is the content of A-ABORT (PS3.8 9.3.8).
type abortion struct{ source, reason byte }

func parseAbort(body []byte) (abortion, error) {
	if len(body) < 4 {
		return abortion{}, malformed("an abort of %d bytes", len(body))
	}
	return abortion{body[2], body[3]}, nil
}

func (a abortion) String() string {
	if a.source != 2 {
		return "its application broke it off"
	}
	reasons := map[byte]string{
		0: "no reason given", 1: "a PDU that it does not know", 2: "a PDU that it did not expect",
		4: "a parameter that it does not know", 5: "a parameter that it did not expect", 6: "a value that is not valid",
	}
	if s, ok := reasons[a.reason]; ok {
		return "it broke it off: " + s
	}
	return fmt.Sprintf("it broke it off: reason %d", a.reason)
}

// abort is the A-ABORT that we send where there is no time for a release.
func abort() pdu { return pdu{abortPDU, []byte{0, 0, 0, 0}} }

func release() pdu { return pdu{releaseRQ, make([]byte, 4)} }
