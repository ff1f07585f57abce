package main

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func read(t *testing.T, content []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(content)
	if block == nil {
		t.Fatalf("no certificate in %q", content)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	err := makeCerts([]string{
		"--dir", dir, "--node", "one", "--address", "10.0.0.1", "--service-address", "10.1.0.1", "--port", "7443",
	})
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(read(t, file("pki/ca.crt")))

	server := read(t, file("pki/kube-apiserver.crt"))
	for _, name := range []string{"10.0.0.1", "10.1.0.1", "127.0.0.1", "kubernetes.default.svc"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: trusted, DNSName: name}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if ip := net.ParseIP("10.9.9.9"); server.VerifyHostname(ip.String()) == nil {
		t.Error("the API server's certificate is good for any address")
	}
	further := read(t, file("pki/front-proxy.crt"))
	client := x509.VerifyOptions{Roots: trusted, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := further.Verify(client); err == nil {
		t.Error("the front proxy's certificate is good for any client")
	}

	for path, user := range map[string]string{"kubeconfig": "admin", "kubeconfigs/kubelet": "system:node:one"} {
		config, err := clientcmd.LoadFromFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if at := config.Clusters[contextName].Server; at != "https://10.0.0.1:7443" {
			t.Errorf("%s leads to %s", path, at)
		}
		cert := read(t, config.AuthInfos[user].ClientCertificateData)
		if _, err := cert.Verify(client); err != nil || cert.Subject.CommonName != user {
			t.Errorf("%s: %s, %v", path, cert.Subject, err)
		}
	}
}
