// SPDX-License-Identifier: Apache-2.0
// The server's TLS, with a certificate that the test makes and OpenSSL's own client.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "serve/http_server.h"
#include "serve/http_test_client.h"

namespace deepshock {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

// A key and a certificate that it signs itself.
class TestCertificate {
 public:
  TestCertificate() {
    const std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>> secret(EVP_EC_gen("P-256"));
    const std::unique_ptr<X509, Deleter<X509_free>> x509(X509_new());
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
    X509_set_pubkey(x509.get(), secret.get());
    X509_NAME* name = X509_get_subject_name(x509.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"),
                               -1, -1, 0);
    X509_set_issuer_name(x509.get(), name);
    X509_sign(x509.get(), secret.get(), EVP_sha256());
    std::FILE* file = std::fopen(key.c_str(), "w");
    PEM_write_PrivateKey(file, secret.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    file = std::fopen(certificate.c_str(), "w");
    PEM_write_X509(file, x509.get());
    std::fclose(file);
  }
  ~TestCertificate() {
    std::filesystem::remove(key);
    std::filesystem::remove(certificate);
  }
  const std::string base = testing::TempDir() + "deepshock-tls-" + std::to_string(::getpid());
  const std::string key = base + ".key.pem", certificate = base + ".pem";
};

class Echo final : public HttpHandler {
 public:
  std::optional<HttpResponse> Refuse(const HttpRequest&) override { return std::nullopt; }
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override {
    reply->Begin({200, "", "text/plain"});
    reply->Write(std::move(request.body));
    reply->End();
  }
  HttpResponse Fault(int status, const std::string& message) override {
    return {status, message, "text/plain"};
  }
};

class TlsClient {
 public:
  TlsClient(int port, int newest) : raw_(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_.get(), newest);
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_security_level(context_.get(), 0);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), raw_.fd());
    connected = SSL_connect(ssl_.get()) == 1;
  }
  std::string Ask(const std::string& request) {
    SSL_write(ssl_.get(), request.data(), static_cast<int>(request.size()));
    std::string answer;
    char buffer[4096];
    for (int n; (n = SSL_read(ssl_.get(), buffer, sizeof(buffer))) > 0;)
      answer.append(buffer, static_cast<size_t>(n));
    return answer;
  }
  bool connected = false;

 private:
  RawClient raw_;
  std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Deleter<SSL_free>> ssl_;
};

TEST(HttpTls, AnswersOverNewVersionsOnly) {
  const TestCertificate files;
  Echo handler;
  HttpServerOptions options;
  options.port = 0;
  options.certificate = files.certificate;
  options.key = files.key;
  options.head_timeout = std::chrono::milliseconds(1000);
  const auto server = HttpServer::Start(options, handler);
  ASSERT_TRUE(server.ok()) << server.message();
  const std::string body(100'000, 'x');
  const std::string request =
      "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
      body;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client((*server)->port(), version);
    ASSERT_TRUE(client.connected);
    const std::string answer = client.Ask(request);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer.substr(0, 100);
    EXPECT_NE(answer.find(body), std::string::npos);
  }
  EXPECT_FALSE(TlsClient((*server)->port(), TLS1_1_VERSION).connected);
  // Whoever speaks plainly, or not at all, is let go.
  for (const std::string words : {"GET / HTTP/1.1\r\n\r\n", ""}) {
    RawClient plain((*server)->port());
    plain.Send(words);
    EXPECT_EQ(plain.ReadAll().find("HTTP/1.1 200"), std::string::npos);
    EXPECT_TRUE(plain.closed_by_server());
  }
}

}  // namespace
}  // namespace deepshock
