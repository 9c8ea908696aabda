import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Base64;
import java.util.List;

/**
 * Logs in with each JDBC URL that comes as a line of base64 on standard input, by pgjdbc, and says of each who it is there.
 * A line of the answer is `ok` with role, application, search_path and TLS, or `error` with the message, in base64.
 */
public final class Client {
  private static final String ASKED =
      "SELECT session_user::text, current_setting('application_name'), current_setting('search_path'),"
          + " (SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid())";

  private Client() {}

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String url = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
      try (Connection connection = DriverManager.getConnection(url);
          Statement statement = connection.createStatement();
          ResultSet found = statement.executeQuery(ASKED)) {
        found.next();
        say("ok", List.of(found.getString(1), found.getString(2), found.getString(3), found.getString(4)));
      } catch (SQLException | RuntimeException error) {
        say("error", List.of(String.valueOf(error.getMessage())));
      }
    }
  }

  private static void say(String result, List<String> words) {
    StringBuilder line = new StringBuilder(result);
    for (String word : words) {
      line.append('\t')
          .append(Base64.getEncoder().encodeToString(word.getBytes(StandardCharsets.UTF_8)));
    }
    System.out.println(line);
  }
}
