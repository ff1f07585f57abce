package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	v := version{SHA: "c0ffee", Colour: "<teal>", Number: "7"}
	for _, c := range []struct {
		path    string
		healthy bool
		status  int
		holds   string
	}{
		{"/", true, http.StatusOK, "c0ffee"},
		{"/", true, http.StatusOK, "&lt;teal&gt;"},
		{"/version", true, http.StatusOK, `"number":"7"`},
		{"/healthz", true, http.StatusOK, "ok"},
		{"/healthz", false, http.StatusServiceUnavailable, "unhealthy"},
		{"/other", true, http.StatusNotFound, ""},
		{"/echo", true, http.StatusUpgradeRequired, "not a WebSocket"},
		{"/bytes?n=3", true, http.StatusOK, "xxx"},
		{"/bytes?n=-3", true, http.StatusBadRequest, ""},
	} {
		answer := httptest.NewRecorder()
		handler(v, c.healthy).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, c.path, nil))
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.holds) {
			t.Errorf("GET %s (healthy: %t): %d %q", c.path, c.healthy, answer.Code, answer.Body)
		}
	}
}
