package orders;

import java.util.List;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.dao.DataAccessException;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** The sample application's orders, on Spring Boot. */
@SpringBootApplication
@RestController
public class Orders {
  private static final String COLUMNS = "id, customer, item, quantity, created";

  private final JdbcTemplate database;
  private final LameDuck lameDuck;

  Orders(JdbcTemplate database, LameDuck lameDuck) {
    this.database = database;
    this.lameDuck = lameDuck;
  }

  public static void main(String[] arguments) {
    SpringApplication.run(Orders.class, arguments);
  }

  record Order(String customer, String item, int quantity) {}

  @GetMapping({"/", "/orders"})
  List<Map<String, Object>> newest() {
    return database.queryForList("SELECT " + COLUMNS + " FROM orders ORDER BY id DESC LIMIT 20");
  }

  @PostMapping("/orders")
  @ResponseStatus(HttpStatus.CREATED)
  Map<String, Object> add(@RequestBody Order order) {
    return database.queryForMap(
        "INSERT INTO orders (customer, item, quantity) VALUES (?, ?, ?) RETURNING " + COLUMNS,
        order.customer(), order.item(), order.quantity());
  }

  @GetMapping("/whoami")
  Map<String, Object> whoami() {
    var role = database.queryForObject("SELECT session_user", String.class);
    return Map.of("role", role, "slot", System.getenv("SLOT"), "pod", System.getenv("HOSTNAME"));
  }

  @GetMapping("/healthz")
  Map<String, Boolean> alive() {
    return Map.of("alive", true);
  }

  @GetMapping("/readyz")
  ResponseEntity<Map<String, Boolean>> ready() {
    if (lameDuck.stopping()) {
      return ResponseEntity.status(HttpStatus.SERVICE_UNAVAILABLE).body(Map.of("ready", false));
    }
    database.queryForObject("SELECT 1", Integer.class);
    return ResponseEntity.ok(Map.of("ready", true));
  }

  @ExceptionHandler(DataAccessException.class)
  @ResponseStatus(HttpStatus.SERVICE_UNAVAILABLE)
  Map<String, String> unavailable(DataAccessException error) {
    System.err.println(error.getMessage());
    return Map.of("error", "the database is not available");
  }
}
