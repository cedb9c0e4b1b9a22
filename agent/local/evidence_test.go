package local_test

import "testing"

func TestEvidenceBySocket(t *testing.T) {
	c, _ := serve(t, &gateway{})
	list, err := c.Evidence(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "echo" {
		t.Fatalf("listed %+v, %v", list, err)
	}
	if b, err := c.EvidenceOf(t.Context(), list[0].ID); err != nil || b.ID != list[0].ID {
		t.Errorf("%+v, %v", b, err)
	}
}
