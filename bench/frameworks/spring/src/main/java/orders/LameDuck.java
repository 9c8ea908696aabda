package orders;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.SmartLifecycle;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;

/**
 * Serves on for some seconds after SIGTERM: each answer ends its connection, so that clients go
 * elsewhere before the server closes, gracefully or not.
 */
@Component
@Order(Integer.MIN_VALUE)
class LameDuck implements Filter, SmartLifecycle {
  private final long milliseconds;
  private volatile boolean running;
  private volatile boolean stopping;

  LameDuck(@Value("${lame-duck.seconds:3}") double seconds) {
    milliseconds = (long) (1000 * seconds);
  }

  /** For the readiness route, which answers 503 from then on. */
  boolean stopping() {
    return stopping;
  }

  @Override
  public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    if (stopping && milliseconds > 0) {
      ((HttpServletResponse) response).setHeader("Connection", "close");
    }
    chain.doFilter(request, response);
  }

  /** The highest phase is stopped first: before the web server, which is 1024 below. */
  @Override
  public int getPhase() {
    return Integer.MAX_VALUE;
  }

  @Override
  public void start() {
    running = true;
  }

  @Override
  public void stop() {
    stopping = true;
    try {
      TimeUnit.MILLISECONDS.sleep(milliseconds);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    running = false;
  }

  @Override
  public boolean isRunning() {
    return running;
  }
}
