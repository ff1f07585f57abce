package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is what the administrator's kubeconfig calls its only context.
const contextName = "seatrial-local"

// authority is a certificate with its key: one that signs others, or a signed one.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  pair
}

type pair struct{ cert, key []byte }

// makeCerts writes everything that the parts prove themselves with: certificates and keys into
// DIR/pki, one kubeconfig per client into DIR/kubeconfigs, the administrator's into DIR/kubeconfig.
func makeCerts(args []string) error {
	flags := flag.NewFlagSet("certs", flag.ExitOnError)
	dir := flags.String("dir", "", "the cluster's state folder")
	node := flags.String("node", "", "name of the node")
	address := flags.String("address", "", "address of the node and of the API server")
	service := flags.String("service-address", "", "address of the Service `kubernetes`")
	port := flags.Int("port", 6443, "port of the API server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, folder := range []string{"pki", "kubeconfigs"} {
		if err := os.MkdirAll(filepath.Join(*dir, folder), 0o700); err != nil {
			return err
		}
	}

	ca, err := newAuthority("seatrial-ca")
	if err != nil {
		return err
	}
	// A CA of its own: whoever holds one of its certificates may claim to be any user.
	frontProxy, err := newAuthority("seatrial-front-proxy-ca")
	if err != nil {
		return err
	}
	serviceAccounts, err := newAuthority("service-accounts")
	if err != nil {
		return err
	}
	pki := map[string]pair{"ca": ca.pem, "front-proxy-ca": frontProxy.pem, "service-accounts": serviceAccounts.pem}

	nodeAddress := net.ParseIP(*address)
	serving := []struct {
		name      string
		names     []string
		addresses []net.IP
	}{
		{
			"kube-apiserver",
			[]string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local",
			},
			[]net.IP{nodeAddress, net.ParseIP(*service), net.IPv4(127, 0, 0, 1)},
		},
		{"kubelet", []string{*node}, []net.IP{nodeAddress}},
	}
	for _, s := range serving {
		template := leaf(pkix.Name{CommonName: s.name}, x509.ExtKeyUsageServerAuth)
		template.DNSNames, template.IPAddresses = s.names, s.addresses
		signed, err := ca.sign(template)
		if err != nil {
			return err
		}
		pki[s.name] = signed
	}

	// How the API server proves itself: to the kubelet, and to servers of further APIs.
	masters := []string{"system:masters"}
	kubeletClient := leaf(pkix.Name{CommonName: "kubelet-client", Organization: masters}, x509.ExtKeyUsageClientAuth)
	if pki["kubelet-client"], err = ca.sign(kubeletClient); err != nil {
		return err
	}
	apiClient := leaf(pkix.Name{CommonName: "front-proxy"}, x509.ExtKeyUsageClientAuth)
	if pki["front-proxy"], err = frontProxy.sign(apiClient); err != nil {
		return err
	}
	for name, p := range pki {
		path := filepath.Join(*dir, "pki", name)
		if err := writeAll(map[string][]byte{path + ".crt": p.cert, path + ".key": p.key}); err != nil {
			return err
		}
	}

	server := fmt.Sprintf("https://%s:%d", *address, *port)
	clients := []struct {
		subject pkix.Name
		path    string
	}{
		{pkix.Name{CommonName: "admin", Organization: masters}, "kubeconfig"},
		{pkix.Name{CommonName: "system:kube-controller-manager"}, "kubeconfigs/kube-controller-manager"},
		{pkix.Name{CommonName: "system:kube-scheduler"}, "kubeconfigs/kube-scheduler"},
		{pkix.Name{CommonName: "system:kube-proxy"}, "kubeconfigs/kube-proxy"},
		{pkix.Name{CommonName: "system:node:" + *node, Organization: []string{"system:nodes"}}, "kubeconfigs/kubelet"},
	}
	for _, client := range clients {
		signed, err := ca.sign(leaf(client.subject, x509.ExtKeyUsageClientAuth))
		if err != nil {
			return err
		}
		config := kubeconfig(server, client.subject.CommonName, ca.pem.cert, signed)
		if err := clientcmd.WriteToFile(config, filepath.Join(*dir, client.path)); err != nil {
			return err
		}
	}
	return nil
}

func writeAll(files map[string][]byte) error {
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(server, user string, ca []byte, client pair) clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: client.cert, ClientKeyData: client.key}
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: user}
	config.CurrentContext = contextName
	return *config
}

// template has what all certificates share: valid from an hour ago, so that a clock that is set
// back a little does not end the cluster, for a year.
func template(subject pkix.Name) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               subject,
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
	}
}

func leaf(subject pkix.Name, usage x509.ExtKeyUsage) *x509.Certificate {
	cert := template(subject)
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	return cert
}

func newAuthority(name string) (*authority, error) {
	cert := template(pkix.Name{CommonName: name})
	cert.IsCA = true
	cert.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return issue(cert, nil)
}

func (a *authority) sign(cert *x509.Certificate) (pair, error) {
	signed, err := issue(cert, a)
	if err != nil {
		return pair{}, err
	}
	return signed.pem, nil
}

// issue makes a key and its certificate, signed by signer or, without one, by itself.
func issue(cert *x509.Certificate, signer *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	parent, parentKey := cert, key
	if signer != nil {
		parent, parentKey = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &authority{cert: parsed, key: key, pem: pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}}, nil
}
